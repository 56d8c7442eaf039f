"""The networks, their weights files, their sizes, and conversion of published weights. Stands on PyTorch alone."""
