"""Pipeline: likelihood."""
