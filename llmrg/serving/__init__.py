"""Recommendations for any history, and why: what reasoning and a trained model do together."""
