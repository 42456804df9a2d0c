"""The graph branch: node features, two graph encoders, position-masked read-out, fusion and pointer."""
