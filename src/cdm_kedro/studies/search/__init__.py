"""Searches over how a trained model is sampled: the points, the sweep over them, and its figures."""
