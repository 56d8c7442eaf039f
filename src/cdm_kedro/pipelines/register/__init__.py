"""The evaluated cascade as a version of an MLflow model."""
