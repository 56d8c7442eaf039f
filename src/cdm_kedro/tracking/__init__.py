"""MLflow runs: what pipeline nodes call to log, the queue behind it, and the delivery to the server."""
