"""The paper's claim about conditioning augmentation: its scores, statements, figures and page."""
