"""Data sets: found, read, split, augmented, in batches."""
