"""Random squares and mirror images of a training batch."""

import torch
from torch import Tensor


def crop_and_flip(images: Tensor, side: int, corner: Tensor | None, grid: int, flip: Tensor | None) -> Tensor:
    """Cut one square out of each image, and mirror some.

    Squares begin at multiples of ``grid``, so that downsampling before cropping gives the same as after it.

    Args:
        images: (B, C, H, H), best in channels_last memory.
        side: side of the squares in pixels.
        corner: (B, 2) in [0, 1), place of the square from top to bottom and from left to right; None is the top left.
        flip: (B,) bool, which images are mirrored left to right; None mirrors none.

    Returns:
        (B, C, side, side) in channels_last memory.
    """
    span = torch.arange(side, device=images.device)
    rows = columns = span.expand(len(images), -1)
    if corner is not None:
        places = (images.shape[-1] - side) // grid + 1
        top, left = (corner * places).long().clamp_max(places - 1).unbind(1)
        rows, columns = (top * grid)[:, None] + span, (left * grid)[:, None] + span
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
