"""Histories and catalogues: what users did, what items are, and what may be known of it."""
