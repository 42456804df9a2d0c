"""The offline job: from a data set's name to graphs and arrays, made, estimated, extended and followed again."""
