"""A canvas for drawn scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]


@dataclass
class Scene:
    """A canvas in coordinates -1 .. 1 (y down) with its own random numbers.

    Attributes:
        side: pixels.
        rng: the only source of randomness.
    """

    side: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        axis = (np.arange(self.side, dtype=np.float32) + 0.5) / self.side * 2 - 1
        self.x = np.broadcast_to(axis[None, :], (self.side, self.side))
        self.y = np.broadcast_to(axis[:, None], (self.side, self.side))
        self.rgb = np.zeros((self.side, self.side, 3), np.float32)

    @cached_property
    def grain(self) -> Array:
        """Fine noise in -1 .. 1, one value a pixel, smoothed a little."""
        return self.noise(self.side // 3)

    def uniform(self, low: float, high: float) -> float:
        """One number."""
        return float(self.rng.uniform(low, high))

    def color(self, *rgb: float, jitter: float = 0.06) -> Array:
        """A colour (0 .. 1) near the one given."""
        return np.clip(np.asarray(rgb, np.float32) + self.rng.uniform(-jitter, jitter, 3).astype(np.float32), 0, 1)

    def noise(self, cells: int) -> Array:
        """Smooth noise in about -1 .. 1 with ``cells`` bumps across."""
        import cv2

        grid = self.rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
        return cv2.resize(grid, (self.side, self.side), interpolation=cv2.INTER_CUBIC)

    def paint(self, distance: Array, color: Array, opacity: float = 1.0) -> None:
        """Fill where the signed distance is negative, with a one-pixel soft edge; ``color`` (3,) or (H, W, 3)."""
        alpha = (np.clip(0.5 - distance * self.side / 2, 0, 1) * opacity)[..., None]
        self.rgb += alpha * (color - self.rgb)

    def shade(self, distance: Array, amount: Array | float) -> None:
        """Multiply brightness by ``1 + amount`` inside."""
        alpha = np.clip(0.5 - distance * self.side / 2, 0, 1)
        self.rgb *= (1 + alpha * amount)[..., None]

    def vertical(self, top: Array, bottom: Array, start: float = -1.0, end: float = 1.0) -> None:
        """Background gradient between two heights."""
        w = np.clip((self.y - start) / (end - start), 0, 1)[..., None]
        self.rgb[...] = top + w * (bottom - top)

    def circle(self, cx: float, cy: float, r: float) -> Array:
        """Signed distance of a disc."""
        return np.hypot(self.x - cx, self.y - cy) - r

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Array:
        """Approximate signed distance of an ellipse."""
        u, v = self.rotated(cx, cy, angle)
        k = np.hypot(u / rx, v / ry)
        return (k - 1) * min(rx, ry)

    def rotated(self, cx: float, cy: float, angle: float) -> tuple[Array, Array]:
        """Coordinates about a centre, turned by ``angle`` radians."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = self.x - cx, self.y - cy
        return c * dx + s * dy, c * dy - s * dx

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

    def clouds(self, count: int, low: float, high: float, color: Array, opacity: float = 0.9) -> None:
        """Puffs between two heights."""
        for _ in range(count):
            cx, cy, size = self.uniform(-1, 1), self.uniform(low, high), self.uniform(0.07, 0.13)
            d = np.minimum.reduce(
                [
                    self.circle(cx + k * size * 0.9, cy - size * 0.25 * (k % 2), size * (1 - 0.12 * abs(k)))
                    for k in (-1, 0, 1, 2)
                ]
            )
            self.paint(d + 0.012 * self.grain, color, opacity)

    def sphere_light(self, cx: float, cy: float, r: float) -> Array:
        """Brightness of a ball lit from the upper left, about 0.6 .. 1.15."""
        return 1.1 - 0.5 * np.clip(np.hypot(self.x - cx + 0.4 * r, self.y - cy + 0.4 * r) / (1.7 * r), 0, 1)
