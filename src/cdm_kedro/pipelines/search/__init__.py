"""Pipelines: search_truncation, search_steps, search_schedule."""
