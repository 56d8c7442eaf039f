"""Pure tensor mathematics of diffusion: schedules, process, losses, conditioning augmentation, samplers."""
