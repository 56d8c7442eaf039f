"""Whether the paper's claim about conditioning augmentation holds in what was measured."""
