"""Nodes that make the paper's tables, row by row."""
