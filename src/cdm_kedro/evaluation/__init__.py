"""Compares samples with real images: feature extractors, statistics, metrics, and the page that shows them."""
