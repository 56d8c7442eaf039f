"""An animated picture of the cascade at work, from noise to its largest size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.files.atomic import written_whole
from cdm_kedro.sampling.stream import Estimate

_SIDE, _PER_MODEL, _COLOURS = 256, 14, 64  # pixels of a tile; steps of a model that are shown; of a GIF
_STEP, _FINISHED, _LAST = 70, 500, 2500  # milliseconds


class Animation:
    """Frames with a row for each of some pictures: the state x_t on the left, and the image that is seen in it.

    ``rows``: which pictures of the run they are. Of many steps some are shown, evenly spaced.
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows
        self._frames: dict[tuple[str, int, bool], dict[int, NDArray[np.uint8]]] = {}

    def add(self, estimate: Estimate) -> None:
        """Keep what belongs to the pictures."""
        shown = np.linspace(0, estimate.steps, min(_PER_MODEL, estimate.steps + 1)).round()
        for row in self.rows:
            if estimate.step in shown and estimate.rows.start <= row < estimate.rows.stop:
                tiles = [_tile(images[row - estimate.rows.start]) for images in (estimate.state, estimate.x_start)]
                key = estimate.model, estimate.step, estimate.finished
                self._frames.setdefault(key, {})[row] = np.concatenate(tiles, axis=1)

    def save(self, path: Path) -> None:
        """Write a GIF, or an animated PNG where the name ends in .png, which repeats for ever."""
        from PIL import Image

        kind = path.suffix[1:].upper()
        frames = [Image.fromarray(np.concatenate([tiles[row] for row in self.rows])) for tiles in self._frames.values()]
        if kind == "GIF":
            frames = [frame.quantize(_COLOURS, dither=Image.Dither.NONE) for frame in frames]
        times = [_FINISHED if finished else _STEP for *_, finished in self._frames]
        with written_whole(path) as part:
            frames[0].save(part, kind, save_all=True, append_images=frames[1:], duration=[*times[:-1], _LAST], loop=0)


def _tile(image: Any) -> NDArray[np.uint8]:
    """(3, h, h) enlarged to the side of a tile by pixel repetition, (H, H, 3)."""
    pixels = image.permute(1, 2, 0).cpu().numpy()
    times = max(1, _SIDE // len(pixels))
    return pixels.repeat(times, 0).repeat(times, 1)
