"""Nodes that train a model of the cascade."""
