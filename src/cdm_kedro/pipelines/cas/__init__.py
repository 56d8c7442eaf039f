"""Pipeline: cas."""
