"""What a file contains, and how two files differ."""
