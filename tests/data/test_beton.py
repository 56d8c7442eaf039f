from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.errors import CdmError


def test_ffcv_reads_what_our_reader_reads(betons: dict[str, Path]) -> None:
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor

    loader = Loader(
        str(betons["val_64"]),
        batch_size=4,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()], "label": [IntDecoder(), ToTensor(), Squeeze(1)]},
    )
    parts = [(x.clone(), y.clone()) for x, y in loader]
    images, labels = read_beton(betons["val_64"])
    assert np.array_equal(torch.cat([p[0] for p in parts]).numpy(), images)
    assert np.array_equal(torch.cat([p[1] for p in parts]).numpy(), labels)


def test_unfinished_and_truncated_files_are_refused(betons: dict[str, Path], tmp_path: Path) -> None:
    data = betons["val_32"].read_bytes()
    cases = {
        "unfinished": data[:16] + bytes(8) + data[24:],
        "truncated": data[: len(data) // 2],
        "short": data[:100],
        "other": b"x" * len(data),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.beton"
        path.write_bytes(content)
        with pytest.raises(CdmError, match=name):
            check_beton(path)
    with pytest.raises(CdmError, match="no such file"):
        check_beton(tmp_path / "none.beton")
    with pytest.raises(IndexError):
        read_beton(betons["val_32"], [99])
