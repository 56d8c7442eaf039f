"""Training: the loop and its steps, the jobs, resume checkpoints, and the processes that run them."""
