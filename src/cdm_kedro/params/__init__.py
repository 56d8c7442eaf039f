"""Typed parameters: the only place that turns raw YAML into values the code uses."""
