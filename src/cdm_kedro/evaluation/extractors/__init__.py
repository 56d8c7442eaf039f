"""Networks that turn images into features, behind one interface."""
