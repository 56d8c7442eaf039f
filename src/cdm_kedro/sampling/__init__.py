"""Sampling the cascade: counter-based noise, the chain of models, grids."""
