"""What one user's reasoning graph says: as a tree in a terminal, as an interactive page in a browser."""
