"""Tickets: masks and rewind weights, as values and as files."""
