"""A classifier that was trained here, as an extractor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.resnet import ResNet


def test_a_trained_classifier_is_an_extractor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ResNet(18, 5, 32, 8).eval()
    path = tmp_path / "classifier.safetensors"
    write_weights(path, net.state_dict(), {"depth": "18", "width": "8", "num_classes": "5", "resolution": "32"})
    extractor = classifier_extractor(path, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    features, logits = extractor(images)
    assert features.shape == (4, 64) == (4, extractor.dim) and logits is not None
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        np.testing.assert_allclose(logits, net(x).numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(features @ net.head.weight.numpy().T + net.head.bias.numpy(), logits, atol=1e-4)
    write_weights(path, net.state_dict(), {})
    with pytest.raises(ValueError, match="does not say the sizes"):
        classifier_extractor(path)
