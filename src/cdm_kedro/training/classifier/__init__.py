"""Training of the classifiers of the classification accuracy score."""
