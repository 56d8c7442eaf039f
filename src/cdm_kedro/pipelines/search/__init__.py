"""Nodes that search over how a trained model is sampled, and that draw what they found."""
