"""Data sets: readers, splits, augmentation, batches."""
