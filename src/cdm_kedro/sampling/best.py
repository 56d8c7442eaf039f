"""Sampling settings from elsewhere: found by a search where the parameters say ``best``, or asked for once."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cdm_kedro.errors import CdmError
from cdm_kedro.files.hashes import sha256
from cdm_kedro.model.load import read_description
from cdm_kedro.params.model import GaussianAugmentation
from cdm_kedro.params.sampling import ModelSamplingParams, SamplingParams

log = logging.getLogger(__name__)
P = TypeVar("P", bound=SamplingParams)


def asked(params: P, models: Mapping[str, Path], **settings: Any) -> P:
    """Change the settings of every model for once; None leaves one as it is, and s is for Gaussian augmentation."""
    changed = dict(params.stages)
    for name in params.stages.keys() & models:
        given = {key: value for key, value in settings.items() if value is not None}
        if not isinstance(read_description(models[name])[0].augmentation, GaussianAugmentation):
            given.pop("s", None)
        if given.get("sampler", "ancestral") != "ancestral":
            given |= {"variance": "small", "resample_from": None}
        changed[name] = ModelSamplingParams.model_validate({**changed[name].model_dump(), **given})
    return params.model_copy(update={"stages": changed})


def resolve_best(params: P, found: Mapping[str, Mapping[str, Any]], models: Mapping[str, Path]) -> P:
    """Replace every ``best`` in the settings of the models.

    Raises CdmError if a model asks for a search that did not run, or that searched another model. ``found``: search to
    what it wrote: ``stage`` (the searched model), ``values`` (its sampling settings) and ``models`` (model to SHA-256
    of the weights that were searched). ``models``: model to weights. A search of other weights is warned of.
    """
    filled = dict(params.stages)
    for name, settings in params.stages.items():
        values: dict[str, Any] = {}
        for search in settings.searched:
            if search not in found:
                raise CdmError(
                    f"sample.stages.{name} asks for what {search} found; run `kedro run --pipeline={search}`"
                )
            best = found[search]
            if best["stage"] != name:
                raise CdmError(f"sample.stages.{name} asks for {search}, which searched {best['stage']}")
            changed = [m for m, digest in best["models"].items() if m in models and sha256(models[m]) != digest]
            if changed:
                remedy = f"`kedro run --pipeline={search}` searches again"
                log.warning("%s was run with other weights of %s; %s", search, ", ".join(changed), remedy)
            values |= best["values"]
        if values:
            filled[name] = ModelSamplingParams.model_validate({**settings.model_dump(), **values})
    return params.model_copy(update={"stages": filled})
