"""The paper's mathematics on tensors: process, training algorithm, conditioning augmentation, samplers, likelihood."""
