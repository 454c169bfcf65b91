"""Programs that measure what pruning costs."""
