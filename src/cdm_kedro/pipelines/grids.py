"""Draws grids of samples, in a stage of its own, so that a picture's margin does not sample again."""

from pathlib import Path

from cdm_kedro.params.sampling import GridsParams


def draw_grids(classes: list[str], params: GridsParams, **samples: Path) -> dict[str, Path]:
    """Draw one PNG for each ``samples_<resolution>``, with a row for each class.

    Returns ``grid_<resolution>``: the picture's path.
    """
    import numpy as np

    from cdm_kedro.files.npz import map_npz_array
    from cdm_kedro.sampling.grids import draw_grid
    from cdm_kedro.tracking.scratch import scratch_dir

    grids = {}
    for name, path in samples.items():
        grid = f"grid_{name.removeprefix('samples_')}"
        images, labels = map_npz_array(path, "arr_0"), np.asarray(map_npz_array(path, "arr_1"))
        grids[grid] = scratch_dir("grids") / f"{grid}.png"
        draw_grid(images, labels, classes, params.columns, grids[grid])
    return grids
