"""Smaller models with the same outputs. Empty for now."""
