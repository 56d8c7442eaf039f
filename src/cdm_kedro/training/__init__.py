"""Training: the job's description, the trainer, resume checkpoints, and the process that runs it."""
