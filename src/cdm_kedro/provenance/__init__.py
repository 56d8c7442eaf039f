"""Staleness (DVC) and run tracking (MLflow). Knows no torch."""
