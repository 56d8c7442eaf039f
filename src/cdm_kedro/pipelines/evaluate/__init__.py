"""Pipeline: evaluate."""
