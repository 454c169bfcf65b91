"""Programs that measure the costs of pruning."""
