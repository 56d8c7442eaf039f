"""Pipeline: preprocess."""
