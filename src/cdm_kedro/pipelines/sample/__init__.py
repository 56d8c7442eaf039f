"""Pipeline: sample."""
