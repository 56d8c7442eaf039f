"""Studies of trained cascades: searches, the claim, classification accuracy."""
