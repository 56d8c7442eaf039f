"""MLflow runs: what pipeline nodes call to log, the queue and journal behind it, and the delivery to the server."""
