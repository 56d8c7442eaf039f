"""Classification accuracy score: classifiers trained on samples and tested on real images."""
