"""Smaller models with the same outputs."""
