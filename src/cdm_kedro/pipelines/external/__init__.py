"""Nodes that score and describe images outside the project."""
