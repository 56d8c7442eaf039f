"""Pipelines: evaluate_external and reference_external."""
