"""Random squares, mirror images and slight movements."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cdm_kedro.training.crops import crop_and_flip, move


def test_crops_lie_on_the_grid_and_flips_mirror_them() -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    corner = torch.tensor([[0.0, 0.0], [0.999999, 0.5], [0.4, 0.999999]])
    flip = torch.tensor([False, True, False])
    got = crop_and_flip(images, 8, corner, 4, flip)  # places 0, 4, 8 either way
    wanted = torch.stack(
        (images[0, :, 0:8, 0:8], images[1, :, 8:16, 4:12].flip(2), images[2, :, 4:12, 8:16]),
    )
    assert torch.equal(got, wanted) and got.is_contiguous(memory_format=torch.channels_last)
    whole = crop_and_flip(images.contiguous(memory_format=torch.channels_last), 16, None, 1, flip)
    assert torch.equal(whole, torch.stack((images[0], images[1].flip(2), images[2])))
    assert torch.equal(crop_and_flip(images, 8, corner, 4, None)[1], images[1, :, 8:16, 4:12])


def test_half_of_the_images_are_moved_as_the_network_is_told() -> None:
    side = 32
    images = torch.zeros(8, 3, side, side, dtype=torch.uint8)
    images[:, :, 12:15, 20:23] = 255  # a dot right of the centre and above it
    draws = torch.zeros(8, 5)
    draws[:, 4] = torch.tensor([1.0] * 6 + [-1.0] * 2)
    draws[0, 0] = draws[1, 1] = draws[2, 2] = draws[3, 3] = draws[6, 0] = 2.0
    draws[4, :4] = draws[7, :4] = torch.tensor([0.5, -1.0, 1.5, 2.0])
    moved, told = move(images, draws, 0.125)

    def dot(image: Tensor) -> tuple[float, float, float]:
        weights = image[0].double() / image[0].double().sum()
        ramp = torch.arange(side) + 0.5 - side / 2  # from the centre
        return (
            float((weights.sum(0) * ramp).sum()),
            float((weights.sum(1) * ramp).sum()),
            float(image[0].double().sum()),
        )

    x, y, mass = dot(images[0])
    shift, turn, zoom = 0.25 * side, torch.tensor(0.25), math.exp(0.25)
    assert dot(moved[0])[:2] == pytest.approx((x - shift, y), abs=0.2)
    assert dot(moved[1])[:2] == pytest.approx((x, y - shift), abs=0.2)
    cos, sin = float(turn.cos()), float(turn.sin())
    assert dot(moved[2])[:2] == pytest.approx((cos * x + sin * y, cos * y - sin * x), abs=0.2)
    assert dot(moved[3])[:2] == pytest.approx((x * zoom, y * zoom), abs=0.3)
    assert dot(moved[3])[2] == pytest.approx(mass * zoom**2, rel=0.1)
    assert torch.equal(moved[5], images[5]) and torch.equal(moved[6:], images[6:])
    assert torch.equal(told, draws[:, :4] * (draws[:, 4:] > 0)) and not torch.equal(moved[4], images[4])
