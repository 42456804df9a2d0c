"""Sentence encoders by name, and grounding words in the catalogue.

Promise: no model library is imported before a name that needs one is used.
"""
