from __future__ import annotations

import numpy as np
import pytest
import torch

from cdm_kedro.data.resample import downsample, downsample_numpy, pyramid


@pytest.mark.parametrize("resolution", [128, 64, 32])
def test_downsample_is_the_rounded_mean(resolution: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 256, 256)).astype(np.uint8))
    k = 256 // resolution
    mean = images.numpy().astype(np.float64).reshape(2, 3, resolution, k, resolution, k).mean((3, 5))
    assert np.array_equal(downsample(images, resolution).numpy(), np.rint(mean).astype(np.uint8))
    arrays = images.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(
        downsample_numpy(arrays, resolution), downsample(images, resolution).permute(0, 2, 3, 1).numpy()
    )
    for refused in (lambda: downsample(images, 100), lambda: downsample_numpy(arrays, 100)):
        with pytest.raises(ValueError, match="divides"):
            refused()


@pytest.mark.parametrize("levels", [2, 4, 256])
def test_a_pyramid_has_each_size_as_it_is_made_alone(levels: int) -> None:
    """Few levels give many sums that lie between two whole numbers."""
    image = np.random.default_rng(levels).integers(0, levels, (256, 256, 3)).astype(np.uint8)
    sides = [256, 128, 64, 32, 16, 8, 4, 1]
    sizes = pyramid(image, sides)
    assert list(sizes) == sides
    for side in sides:
        assert np.array_equal(sizes[side], downsample_numpy(image[None], side)[0]), side
    assert list(pyramid(image, [32])) == [32]
    assert pyramid(np.full((256, 256, 3), 255, np.uint8), [16])[16].min() == 255  # the largest sum
