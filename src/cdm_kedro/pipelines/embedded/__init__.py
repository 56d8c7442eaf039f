"""Pipeline: embedded."""
