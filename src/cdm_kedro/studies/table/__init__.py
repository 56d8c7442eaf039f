"""The paper's tables: one row sampled and scored, and all of them beside the paper's numbers."""
