"""Settings that a user passes to a run and that belong to no engine."""
