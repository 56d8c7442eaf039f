"""Pipeline: claim."""
