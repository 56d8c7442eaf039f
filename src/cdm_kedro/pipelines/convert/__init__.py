"""Pipeline: convert."""
