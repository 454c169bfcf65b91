"""CheckpointAndResume: a run that was killed goes on exactly."""
