"""Judging images: feature extractors, statistics, distances, the report."""
