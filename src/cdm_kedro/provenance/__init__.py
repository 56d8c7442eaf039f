"""Decides which stages are stale (DVC), runs them, records them and tracks them (MLflow)."""
