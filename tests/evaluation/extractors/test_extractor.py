"""Extractors recognize images, refuse others, and compute in full precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from summaries import PARAMS, npz

from cdm_kedro.data.embedded.generate import render
from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.params.evaluation import EvaluateParams


def test_extractor_recognizes_and_refuses(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    big = np.stack([render("balloon", "val", i, 256, 0) for i in range(4)])
    _, logits = make_extractor(EvaluateParams())(big)
    assert logits is not None and (logits.argmax(1) == 417).any()  # ImageNet's class "balloon"
    with pytest.raises(ValueError, match="uint8"):
        extractor(pictures[:2].astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.npz: 3 image\(s\) are too few to score; at least 4"):
        collect(npz(tmp_path / "a.npz", pictures[:3]), extractor, PARAMS, "test")
    with pytest.raises(ValueError, match=r"needs weights: the path of pt_inception-2015-12-05-6726825d\.pth"):
        EvaluateParams(extractor="inception2015")
    with pytest.raises(ValueError, match="100 is not divisible by DINOv2's patch of 14"):
        EvaluateParams(extractor="dinov2_vitl14", weights="w", input_side=100)


def test_networks_run_by_cudnn_in_full_precision() -> None:
    seen = []

    def net(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32, x.dtype, x.max().item()))
        return x.mean((2, 3)), None

    Extractor("probe", net, 3, "0" * 64, "none", torch.device("cpu"))(np.full((1, 8, 8, 3), 255, np.uint8))
    assert seen == [(True, False, torch.float32, 255.0)]
