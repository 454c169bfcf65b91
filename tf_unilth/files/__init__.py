"""Atomic, checksummed files and directory locks; imports no framework."""
