"""The shape of the cascade: which models an environment has, and which pipelines can be built beside them.

The registry needs it before Kedro has a context, so it comes from the YAML files themselves. What must fit together
across files is checked here and nowhere else; what one key must hold by itself is checked by its own type.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, ValidationError

from cdm_kedro.errors import CdmError
from cdm_kedro.params.base import Different, Params
from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams, trained_models
from cdm_kedro.params.data import RESOLUTIONS
from cdm_kedro.params.explain import not_a_key
from cdm_kedro.params.files import Parameters, read_globals, read_parameters
from cdm_kedro.params.sampling import SEARCHES, asked_searches
from cdm_kedro.params.table import TABLES, TableParams

KEYS = (
    *("cascade", "embedded", "preprocess", "sample", "grids", "evaluate", "report", "cas", "likelihood", "claim"),
    "slurm",
    *SEARCHES,
    *TABLES,
)
"""Top-level keys, besides the names of the models."""


class CascadeParams(Params):
    """Which models the cascade has."""

    stages: Annotated[tuple[str, ...], Different] = Field(min_length=1, description="names of the models, lowest first")
    images: bool = Field(True, description="whether there are images to train on and to compare with")


class ClaimParams(Params):
    """What the pipeline `claim` is built from."""

    seeds: Annotated[tuple[NonNegativeInt, ...], Different] = Field(min_length=1, description="each samples all points")
    sweep: ClaimSweepParams
    baseline: BaselineParams
    classifier: ClassifierParams = Field(description="the second extractor, trained on the same images")


@dataclass(frozen=True)
class ModelShape:
    """One model of the cascade; resolutions are sides of images in pixels."""

    name: str
    resolution: int
    low: str | None = None  # the model whose images it enlarges; None for a base model
    low_resolution: int | None = None
    pretrained: bool = False  # whether published weights are converted instead of training it
    selects: bool = False  # whether its training scores samples and keeps the best weights
    held_out: bool = False  # whether it compares them with validation images
    any_s: bool = False  # whether it is trained for every s of conditioning augmentation at once


@dataclass(frozen=True)
class CascadeShape:
    """Everything that decides which pipelines an environment has and how they are wired; sizes are in pixels."""

    models: tuple[ModelShape, ...]
    images: bool = True  # to train on and to compare with; without them every model is pretrained
    embedded: bool = False  # whether those images are the embedded data set, which a stage renders
    preprocess_resolutions: tuple[int, ...] = RESOLUTIONS
    sample_inputs: tuple[str, ...] = ()  # datasets besides the models: real low-resolution images, what searches found
    searches: dict[str, str] = field(default_factory=dict)  # each with the model whose sampling it searches
    cas_resolutions: tuple[int, ...] = ()  # at which the Classification Accuracy Score is measured
    cas_samples: bool = False  # whether samples are made for its classifiers alone
    reported: tuple[str, ...] = ()  # pipelines besides the cascade whose results the report shows
    claim: ClaimParams | None = None
    tables: dict[str, TableParams] = field(default_factory=dict)  # of the paper, whose rows are parameters
    ablations: tuple[ModelShape, ...] = ()  # models that those rows need beside the cascade's

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes of the images that the cascade makes, ascending, in pixels."""
        return tuple(sorted(model.resolution for model in self.models))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(model.name for model in self.models)

    def chain(self, name: str) -> tuple[ModelShape, ...]:
        """A model and those below it, lowest first."""
        model = next(model for model in (*self.models, *self.ablations) if model.name == name)
        return (*(self.chain(model.low) if model.low is not None else ()), model)


def read_cascade(conf: Path, env: str | None) -> CascadeShape:
    """Read the shape of an environment's cascade.

    Raises CdmError if the files do not fit together; the message names file and key. ``env``: None is ``base`` alone.
    """
    given = read_parameters(conf, env)
    cascade: CascadeParams = given.read("cascade", CascadeParams)
    for key, value in given.values.items():
        if key not in (*KEYS, *cascade.stages) and not (isinstance(value, dict) and "unet" in value):
            raise given.error(f"{not_a_key(str(key), (*KEYS, *cascade.stages))}, and other models with their unet")
    models: dict[str, ModelShape] = {}
    for name in cascade.stages:
        models[name] = _model(given, name, models)
        if not cascade.images and not models[name].pretrained:
            raise given.error(
                f"cascade.images is false, but {name} would be trained; give it `pretrained`, or set images: true"
            )
    shape = CascadeShape(tuple(models.values()), cascade.images, sample_inputs=_sample_inputs(given, models))
    if not shape.images:
        return shape
    places = read_globals(conf, env)
    shape = replace(
        shape,
        embedded=places.get("images") == f"{places.get('root')}/01_raw/embedded",
        preprocess_resolutions=_preprocess_resolutions(given, shape),
        searches=_searches(given, shape),
        cas_resolutions=_subset(given, "cas.resolutions", tuple[int, ...], shape.resolutions, "the cascade makes"),
        cas_samples=given.get("cas.num_samples") is not None,
        claim=_claim(given, shape),
    )
    shape = _with_tables(given, shape)
    there = {"cas": shape.cas_resolutions, "likelihood": True, **shape.searches, "claim": shape.claim}
    known = tuple(name for name, present in there.items() if present)
    return replace(shape, reported=_subset(given, "report.include", tuple[str, ...], known, "it may hold"))


def _model(given: Parameters, name: str, below: dict[str, ModelShape], named_in: str = "cascade.stages") -> ModelShape:
    if given.get(name) is None:
        raise given.error(f"{named_in} names {name!r}, but no parameters file has a key {name!r}")
    model = ModelShape(
        name,
        given.read(f"{name}.resolution", int),
        given.read(f"{name}.low", str | None),
        given.read(f"{name}.low_resolution", int | None),
        pretrained=given.get(f"{name}.pretrained") is not None,
        selects=given.get(f"{name}.training.selection") is not None,
        held_out=given.get(f"{name}.training.selection.split") == "val",
        any_s=given.get(f"{name}.augmentation.kind") == "gaussian" and given.get(f"{name}.augmentation.s") is None,
    )
    if model.low is not None and model.low not in below:
        raise given.error(f"{name}.low is {model.low!r}, which is not an earlier entry of cascade.stages")
    if model.low is not None and below[model.low].resolution != model.low_resolution:
        raise given.error(
            f"{name}.low_resolution is {model.low_resolution!r}, but {model.low} models "
            f"{below[model.low].resolution}-pixel images"
        )
    for other in below.values():
        if other.resolution == model.resolution and named_in == "cascade.stages":
            raise given.error(
                f"{name}.resolution is {model.resolution}, which {other.name} has too; samples are named by their size"
            )
    return model


def _inherited(given: Parameters, key: str) -> bool:
    """Whether a key comes from another environment than the cascade: then it may be meant for another cascade."""
    return given.origin[key].parent != given.origin["cascade"].parent


def _subset(given: Parameters, key: str, kind: Any, allowed: tuple[Any, ...], reason: str) -> tuple[Any, ...]:
    """The values of a list, all of which must be allowed; those that an inherited list has too many are left out."""
    values = given.read(key, kind | None) or ()
    wrong = [value for value in values if value not in allowed]
    if wrong and not _inherited(given, key.split(".")[0]):
        raise given.error(f"{key} holds {wrong[0]!r}; {reason} {list(allowed)}")
    return tuple(value for value in values if value in allowed)


def _preprocess_resolutions(given: Parameters, shape: CascadeShape) -> tuple[int, ...]:
    stored = given.read("preprocess.resolutions", tuple[int, ...] | None) or RESOLUTIONS
    missing = sorted({model.resolution for model in shape.models if not model.pretrained} - set(stored))
    if missing:
        raise given.error(f"preprocess.resolutions {list(stored)} lacks {missing}, which the cascade is trained on")
    return stored


def _sample_inputs(given: Parameters, models: dict[str, ModelShape]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    asked = given.read("sample.stages", dict[str, dict[str, Any]] | None) or {}
    if asked and asked.keys() != models.keys() and not _inherited(given, "sample"):
        raise given.error(f"sample.stages holds {list(asked)}, but the cascade's models are {list(models)}")
    for name, settings in asked.items():
        model, steps, trained = models.get(name), settings.get("steps"), given.get(f"{name}.diffusion.timesteps")
        if isinstance(steps, int) and isinstance(trained, int) and steps > trained:
            raise given.error(f"sample.stages.{name}.steps is {steps}; {name} is trained with {trained}, so take fewer")
        if model is not None and model.low is not None and settings.get("conditioning") in ("train", "val"):
            names[f"{settings['conditioning']}_{model.low_resolution}"] = None
        names |= {f"{search}_best": None for search in asked_searches(settings) if model is not None}
    return tuple(names)


def _searches(given: Parameters, shape: CascadeShape) -> dict[str, str]:
    """The searches that fit this cascade; an inherited one that does not is left out."""
    found = {}
    for search in SEARCHES:
        if given.get(search) is None:
            continue
        name, stages = given.read(f"{search}.stage", str), given.read(f"{search}.stages", dict[str, Any])
        if name in shape.names and set(stages) == {model.name for model in shape.chain(name)}:
            found[search] = name
        elif not _inherited(given, search):
            raise given.error(
                f"{search}.stages must hold {search}.stage ({name!r}) and the models below it, and no other; the "
                f"cascade's are {list(shape.names)}"
            )
    return found


def _claim(given: Parameters, shape: CascadeShape) -> ClaimParams | None:
    """The claim; one that is inherited and is about another cascade is left out."""
    if given.get("claim") is None:
        return None
    claim: ClaimParams = given.read("claim", ClaimParams)
    name = claim.sweep.stage
    if name not in shape.names and _inherited(given, "claim"):
        return None
    if name not in shape.names or shape.chain(name)[-1].low is None:
        raise given.error(f"claim.sweep.stage is {name!r}; it must be a super-resolution model of {list(shape.names)}")
    chain = shape.chain(name)
    names = [model.name for model in chain]
    if set(claim.sweep.stages) != set(names):
        raise given.error(f"claim.sweep.stages must hold {names}, and no other model")
    if claim.baseline.resolution != chain[-1].resolution:
        raise given.error(
            f"claim.baseline.resolution is {claim.baseline.resolution}; {name} models {chain[-1].resolution} pixels"
        )
    try:
        with suppress(ValidationError):  # the type of the model's own key says that
            trained_models(claim.sweep, {name: given.get(name) for name in names})
    except CdmError as error:
        raise given.error(str(error)) from None
    return claim


def _with_tables(given: Parameters, shape: CascadeShape) -> CascadeShape:
    """Add the tables, and the models that their rows need; inherited tables are about another cascade."""
    tables: dict[str, TableParams] = {}
    cascade = {model.name: model for model in shape.models}
    beside: dict[str, ModelShape] = {}
    for key in TABLES:
        if given.get(key) is None or _inherited(given, key):
            continue
        tables[key] = given.read(key, TableParams)
        for name, row in tables[key].rows.items():
            if row.model not in cascade:
                beside[row.model] = _model(given, row.model, cascade, f"{key}.rows.{name}.model")
                if beside[row.model].resolution not in shape.resolutions:
                    raise given.error(
                        f"{row.model}.resolution is {beside[row.model].resolution}; a row of {key} is compared with "
                        f"images of a size that the cascade makes, {list(shape.resolutions)}"
                    )
    return replace(shape, tables=tables, ablations=tuple(beside.values()))
