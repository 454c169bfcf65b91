"""Smaller models with the same outputs; empty so far."""
