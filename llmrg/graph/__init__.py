"""Reasoning graphs: what they are, how they are checked, kept, exchanged and laid out for training."""
