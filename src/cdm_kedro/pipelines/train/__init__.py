"""Pipeline: train."""
