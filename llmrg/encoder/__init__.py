"""The graph branch: node features, graph networks by name, position-masked read-outs, fusions and pointer."""
