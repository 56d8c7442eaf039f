"""Pipeline: reference."""
