"""Pipeline: grids."""
