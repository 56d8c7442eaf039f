"""Classification accuracy score: classifiers trained on samples and judged on real images."""
