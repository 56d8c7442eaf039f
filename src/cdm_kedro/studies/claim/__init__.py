"""The paper's claim about conditioning augmentation: its statements, scores, figure, table and page."""
