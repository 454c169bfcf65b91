"""Files that are written whole or not at all; imports no framework."""
