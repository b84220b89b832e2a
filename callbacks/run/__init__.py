"""What a run leaves and how it survives: checkpoints, logs, its record, requeueing."""
