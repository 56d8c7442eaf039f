"""An animated picture of the cascade at work, from noise to its largest size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.files.atomic import written_whole
from cdm_kedro.sampling.stream import Estimate
from cdm_kedro.sampling.tiles import tile_rows

_SIDE, _PER_MODEL, _COLOURS = 256, 8, 40  # pixels of a tile; steps of a model that are shown; of a GIF
_STEP, _FINISHED, _LAST = 70, 500, 2500  # milliseconds


class Animation:
    """Frames with a row for each of ``names``, picture of the run to its name: the state x_t, and the image in it."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self._frames: dict[tuple[str, int, bool], dict[int, Any]] = {}

    def add(self, estimate: Estimate) -> None:
        """Keep what belongs to the pictures."""
        shown = np.linspace(0, estimate.steps, min(_PER_MODEL, estimate.steps + 1)).round()
        for row in self.names:
            if estimate.step in shown and estimate.rows.start <= row < estimate.rows.stop:
                both = [images[row - estimate.rows.start] for images in (estimate.state, estimate.x_start)]
                key = estimate.model, estimate.step, estimate.finished
                self._frames.setdefault(key, {})[row] = [image.permute(1, 2, 0).cpu().numpy() for image in both]

    def save(self, path: Path) -> None:
        """Write a GIF, or an animated PNG where the name ends in .png, which repeats for ever."""
        kind, frames = path.suffix[1:].upper(), []
        for images in self._frames.values():
            frame = tile_rows([(name, images[row], ()) for row, name in self.names.items()], _SIDE)
            frames.append(frame.quantize(_COLOURS, dither=0) if kind == "GIF" else frame)
        times = [_FINISHED if finished else _STEP for *_, finished in self._frames]
        with written_whole(path) as part:
            frames[0].save(part, kind, save_all=True, append_images=frames[1:], duration=[*times[:-1], _LAST], loop=0)
