"""The node that computes the feature statistics of real images."""
