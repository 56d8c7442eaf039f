"""Random squares, mirror images and slight movements of a training batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_kedro.model.unet import GEOMETRY


def crop_and_flip(images: Tensor, side: int, corner: Tensor | None, grid: int, flip: Tensor | None) -> Tensor:
    """Cut one square out of each image, and mirror some.

    Squares begin at multiples of ``grid``, so that downsampling before cropping gives the same as after it. Returns
    (B, C, side, side) in channels_last memory, in which the (B, C, H, H) images lie best. ``corner``: (B, 2) in [0, 1),
    place of the square from top to bottom and left to right; None is the top left. ``flip``: (B,) bool; None is no one.
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


def move(images: Tensor, draws: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Move, turn and zoom half of the images about their centre; what lies outside is mirrored in.

    The network is told how, as in Karras et al. (2022, appendix F.2), so that what it draws when told nothing is still.
    Returns (B, C, H, H) uint8, and (B, 4) shifts to the left and up, angle and zoom in standard deviations, 0 in the
    other half. ``images``: (B, C, H, H) uint8. ``draws``: (B, 5) standard normal; the last one's sign chooses the half.
    ``strength``: standard deviation of the shifts in sides, of the angle in radians, of the zoom's logarithm.
    """
    told = draws[:, :GEOMETRY] * (draws[:, GEOMETRY:] > 0)
    x, y, angle, zoom = (strength * told).unbind(1)
    cos, sin = torch.exp(-zoom) * angle.cos(), torch.exp(-zoom) * angle.sin()
    matrix = torch.stack((cos, -sin, 2 * x, sin, cos, 2 * y), dim=1).view(-1, 2, 3)
    places = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), places, "bicubic", padding_mode="reflection", align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8), told
