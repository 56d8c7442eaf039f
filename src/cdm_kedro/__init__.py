"""Cascaded diffusion models (Ho et al., 2021) as a reproducible Kedro, DVC and MLflow pipeline."""

__version__ = "0.1.0"
