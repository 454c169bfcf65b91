"""CheckpointAndResume: resumes an interrupted run exactly."""
