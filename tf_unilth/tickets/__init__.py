"""Tickets: masks and rewind weights as a value and as a file."""
