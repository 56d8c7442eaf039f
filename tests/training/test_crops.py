"""Random squares and mirror images."""

from __future__ import annotations

import torch

from cdm_kedro.training.crops import crop_and_flip


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
