"""Nodes that train classifiers on real and generated images and compare them."""
