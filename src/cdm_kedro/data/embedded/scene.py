"""A canvas for drawn scenes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def courses(u: Array, v: Array) -> tuple[Array, Array]:
    """Lay units in rows as bricks lie, every other row moved by half a unit: (H, W) ``u`` so moved, and row numbers."""
    row = np.floor(v)
    return u + 0.5 * (row % 2), row


def joints(u: Array, width: float) -> NDArray[np.bool_]:
    """Where a unit ends and the next begins: farther than ``width`` (below 0.5) from the unit's middle."""
    return np.abs(u % 1 - 0.5) > width


@dataclass
class Scene:
    """A canvas of ``side`` pixels in coordinates -1 .. 1 (y down), whose only source of randomness is ``rng``.

    A shape is the signed distance of every pixel from its edge, (H, W), negative inside.
    """

    side: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        axis = (np.arange(self.side, dtype=np.float32) + 0.5) / self.side * 2 - 1
        self.x = np.broadcast_to(axis[None, :], (self.side, self.side))
        self.y = np.broadcast_to(axis[:, None], (self.side, self.side))
        self.rgb = np.zeros((self.side, self.side, 3), np.float32)

    def uniform(self, low: float, high: float) -> float:
        """Draw one number."""
        return float(self.rng.uniform(low, high))

    def either_way(self) -> int:
        """Draw a direction, 1 or -1."""
        return 1 if self.rng.random() < 0.5 else -1

    def color(self, *rgb: float, jitter: float = 0.06) -> Array:
        """Draw a colour (0 .. 1) near the one given."""
        return np.clip(np.asarray(rgb, np.float32) + self.rng.uniform(-jitter, jitter, 3).astype(np.float32), 0, 1)

    def noise(self, cells: int) -> Array:
        """Draw smooth noise in about -1 .. 1 with ``cells`` bumps across."""
        import cv2

        grid = self.rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
        return cv2.resize(grid, (self.side, self.side), interpolation=cv2.INTER_CUBIC)

    def specks(self, threshold: float) -> NDArray[np.bool_]:
        """Draw single pixels, each with probability ``1 - threshold``."""
        return self.rng.random((self.side, self.side)) > threshold

    @cached_property
    def grain(self) -> Array:
        """Fine noise in -1 .. 1, about three pixels wide, the same wherever this scene uses it."""
        return self.noise(self.side // 3)

    def paint(self, distance: Array, color: Array, tone: Array | None = None, opacity: float = 1.0) -> None:
        """Fill a shape with a colour, (3,) or (H, W, 3), times an (H, W) tone: texture and light.

        Its edge is soft over one pixel; the opacity is 0 .. 1.
        """
        import cv2

        alpha = np.clip(0.5 - distance * self.side / 2, 0, 1) * opacity
        x, y, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
        part = np.s_[y : y + height, x : x + width]
        below, color = self.rgb[part], np.broadcast_to(color, self.rgb.shape)[part]
        below += alpha[part][..., None] * ((color if tone is None else color * tone[part][..., None]) - below)

    def light(self, factor: Array) -> None:
        """Multiply the brightness of all that is painted so far by (H, W)."""
        self.rgb *= factor[..., None]

    def shade(self, distance: Array, amount: Array | float) -> None:
        """Multiply brightness by ``1 + amount`` inside a shape."""
        self.light(1 + np.clip(0.5 - distance * self.side / 2, 0, 1) * amount)

    def vertical(self, top: Array, bottom: Array, start: float = -1.0, end: float = 1.0) -> None:
        """Paint the background: a gradient between two heights."""
        w = np.clip((self.y - start) / (end - start), 0, 1)[..., None]
        self.rgb[...] = top + w * (bottom - top)

    def circle(self, cx: float, cy: float, r: float) -> Array:
        """Signed distance of a disc."""
        return np.hypot(self.x - cx, self.y - cy) - r

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Array:
        """Approximate signed distance of an ellipse turned by ``angle`` radians."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = self.x - cx, self.y - cy
        return (np.hypot((c * dx + s * dy) / rx, (c * dy - s * dx) / ry) - 1) * min(rx, ry)

    def box(self, cx: float, cy: float, hx: float, hy: float, round_by: float = 0.0) -> Array:
        """Signed distance of a rectangle with half sides (hx, hy)."""
        dx, dy = np.abs(self.x - cx) - hx + round_by, np.abs(self.y - cy) - hy + round_by
        return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - round_by

    def polygon(self, *points: tuple[float, float]) -> Array:
        """Signed distance (a bound outside) of a convex polygon, points clockwise on screen."""
        d = np.full_like(self.rgb[..., 0], -9)
        for (x0, y0), (x1, y1) in zip(points, (*points[1:], points[0]), strict=True):
            length = np.hypot(x1 - x0, y1 - y0)
            d = np.maximum(d, ((self.x - x0) * (y1 - y0) - (self.y - y0) * (x1 - x0)) / length)
        return d

    def trapezoid(self, cx: float, top_half: float, top: float, bottom_half: float, bottom: float) -> Array:
        """Signed distance of an upright trapezoid, given half its width at the top and at the bottom."""
        left, right = (cx - bottom_half, bottom), (cx + bottom_half, bottom)
        return self.polygon((cx - top_half, top), (cx + top_half, top), right, left)

    def clouds(self, count: int, low: float, high: float, color: Array, opacity: float = 0.9) -> None:
        """Paint puffs between two heights."""
        for _ in range(count):
            cx, cy, size = self.uniform(-1, 1), self.uniform(low, high), self.uniform(0.07, 0.13)
            puffs = [
                self.circle(cx + k * size * 0.9, cy - size * 0.25 * (k % 2), size * (1 - 0.12 * abs(k)))
                for k in (-1, 0, 1, 2)
            ]
            self.paint(np.minimum.reduce(puffs) + 0.012 * self.grain, color, opacity=opacity)

    def sphere_light(self, cx: float, cy: float, r: float) -> Array:
        """Brightness of a ball lit from the upper left, about 0.6 .. 1.15."""
        return 1.1 - 0.5 * np.clip(np.hypot(self.x - cx + 0.4 * r, self.y - cy + 0.4 * r) / (1.7 * r), 0, 1)
