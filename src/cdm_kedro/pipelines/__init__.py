"""The stages of DVC and MLflow: ``cascade`` and ``extras`` wire them, and each folder holds one kind's nodes."""
