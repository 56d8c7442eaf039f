"""Likelihood node."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.likelihood import LikelihoodParams

_USED = ("s", "truncated", "clip_x_start")


def likelihood(params: LikelihoodParams, stages: dict[str, Any], **files: Path) -> dict[str, Any]:
    """Bound the bits per dimension of real images under every model and under the cascade.

    See :func:`cdm_kedro.evaluation.likelihood.cascade_bits`. ``stages``: ``sample.stages``; the s, truncation and
    clipping with which the cascade is sampled. ``files``: ``<model>_model``, lowest first, and ``<split>_<resolution>``
    FFCV files.
    """
    from cdm_kedro.evaluation.likelihood import cascade_bits
    from cdm_kedro.params.sampling import SampleParams
    from cdm_kedro.sampling.cascade import Cascade

    models = {name.removesuffix("_model"): path for name, path in files.items() if name.endswith("_model")}
    prefix = f"{params.split}_"
    images = {int(name.removeprefix(prefix)): path for name, path in files.items() if name.startswith(prefix)}
    used = {name: {k: v for k, v in keys.items() if k in _USED} for name, keys in stages.items()}
    for name, keys in used.items():
        if not isinstance(s := keys.get("s", 0), int):
            raise ValueError(f"sample.stages.{name}.s is {s!r}; the bound needs a number: write the one searched")
    sampling = SampleParams.model_validate({"num_samples": 1, "precision": params.precision, "stages": used})
    return cascade_bits(Cascade.from_files(models, sampling), images, params)
