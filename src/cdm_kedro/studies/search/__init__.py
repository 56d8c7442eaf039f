"""Searches over sampling settings: the points, the sweep over them, and its figures."""
