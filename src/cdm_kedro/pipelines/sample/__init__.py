"""Nodes that sample the cascade and draw its grids."""
