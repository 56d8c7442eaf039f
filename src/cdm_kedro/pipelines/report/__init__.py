"""Pipeline: report."""
