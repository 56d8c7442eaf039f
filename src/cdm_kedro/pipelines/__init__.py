"""One folder a pipeline: ``pipeline.py`` wires, ``nodes.py`` holds the functions."""
