"""Node of the embedded data set."""

from pathlib import Path

from cdm_kedro.params.data import EmbeddedParams


def generate_embedded(params: EmbeddedParams) -> Path:
    """Render the embedded data set. Returns a folder in ImageNet layout."""
    from cdm_kedro.data.embedded.generate import generate
    from cdm_kedro.tracking.scratch import scratch_dir

    return generate(scratch_dir("embedded") / "images", params)
