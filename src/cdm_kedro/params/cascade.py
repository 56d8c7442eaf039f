"""The shape of the cascade, read from the parameters: which stages exist and what conditions what.

The registry needs it before Kedro has a context, so it reads the YAML files itself, with Kedro's default
(destructive) precedence of the environment over ``base``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cdm_kedro.params.data import RESOLUTIONS
from cdm_kedro.params.files import CascadeSpecError, _uses_embedded, read_parameters
from cdm_kedro.params.sampling import SEARCHES, asked_searches

KEYS = ("cascade", "embedded", "preprocess", "sample", "evaluate", "report", "cas", "likelihood", "claim", *SEARCHES)
"""Top-level parameters, besides the stages."""


@dataclass(frozen=True)
class ModelSpec:
    """One model of the cascade."""

    name: str
    resolution: int
    low: str | None
    low_resolution: int | None = None
    pretrained: bool = False
    """Converted from published weights instead of trained."""
    selects: bool = False
    """Whether training scores its samples and keeps the best weights."""


@dataclass(frozen=True)
class ClaimSpec:
    """What the pipeline `claim` is built from: the stage whose s is varied, and a stage of scores for each seed."""

    stage: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class CascadeSpec:
    """Stages in an order in which each one's ``low`` comes first.

    Attributes:
        stages: the models.
        embedded: whether the embedded data set is generated: where ``images`` of globals.yml points at its folder.
        images: whether there are images to train on and to compare with; false needs every stage pretrained.
        stored: sizes that preprocessing stores.
        sample_inputs: datasets that sampling needs beside the models: FFCV files of real low-resolution images, and
            the best values of searches.
        searches: search to the stage that it searches.
        classified: sizes of the pipeline `cas`.
        included: pipelines beside the cascade whose results the report shows.
        claim: the pipeline `claim`, where the environment has it.
    """

    stages: tuple[ModelSpec, ...]
    embedded: bool
    images: bool = True
    stored: tuple[int, ...] = RESOLUTIONS
    sample_inputs: tuple[str, ...] = ()
    searches: tuple[tuple[str, str], ...] = ()
    classified: tuple[int, ...] = ()
    included: tuple[str, ...] = ()
    claim: ClaimSpec | None = None

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes that the cascade makes, ascending."""
        return tuple(sorted(stage.resolution for stage in self.stages))

    def chain(self, name: str) -> tuple[ModelSpec, ...]:
        """A stage and those below it, lowest first."""
        known = {stage.name: stage for stage in self.stages}
        stage: ModelSpec | None = known[name]
        found: list[ModelSpec] = []
        while stage is not None:
            found.insert(0, stage)
            stage = known.get(stage.low) if stage.low is not None else None
        return tuple(found)


def read_cascade(conf: Path, env: str | None) -> CascadeSpec:
    """The cascade of an environment.

    Args:
        conf: the project's ``conf`` folder.
        env: environment, or None for ``base`` alone.

    Raises:
        CascadeSpecError: the list of stages and their parameters do not fit together; the message names file and key.
    """
    values, origin = read_parameters(conf, env)
    cascade = values.get("cascade")
    if not isinstance(cascade, dict) or not isinstance(cascade.get("stages"), list) or not cascade["stages"]:
        raise CascadeSpecError(f"{origin.get('cascade', conf / 'base')}: cascade.stages must be a list of stage names")
    where = origin["cascade"]
    for key, value in values.items():
        if key not in (*KEYS, *cascade["stages"]) and not (isinstance(value, dict) and "unet" in value):
            close = difflib.get_close_matches(key, [*KEYS, *map(str, cascade["stages"])], 1)
            raise CascadeSpecError(
                f"{origin[key]}: {key} is not a key{f'; did you mean {close[0]}?' if close else '.'} "
                f"Known are {', '.join(KEYS)}, and stages with their unet"
            )
    unknown = sorted(set(cascade) - {"stages", "images"})
    if unknown:
        raise CascadeSpecError(f"{where}: cascade.{unknown[0]} is not a key; known are stages and images")
    images = bool(cascade.get("images", True))
    known: dict[str, ModelSpec] = {}
    for name in cascade["stages"]:
        if name in known:
            raise CascadeSpecError(f"{where}: cascade.stages names {name!r} twice")
        params = values.get(name)
        if not isinstance(params, dict):
            raise CascadeSpecError(f"{where}: cascade.stages names {name!r}, but no parameters file has a key {name!r}")
        resolution, low, low_resolution = (params.get(key) for key in ("resolution", "low", "low_resolution"))
        if not isinstance(resolution, int):
            raise CascadeSpecError(f"{origin[name]}: {name}.resolution is {resolution!r}; it must be a size in pixels")
        if low is not None:
            if low not in known:
                raise CascadeSpecError(
                    f"{origin[name]}: {name}.low is {low!r}, which is not an earlier entry of cascade.stages in {where}"
                )
            if known[low].resolution != low_resolution:
                raise CascadeSpecError(
                    f"{origin[name]}: {name}.low_resolution is {low_resolution!r}, but {low} models "
                    f"{known[low].resolution}-pixel images"
                )
        clash = next((s.name for s in known.values() if s.resolution == resolution), None)
        if clash:
            raise CascadeSpecError(
                f"{origin[name]}: {name}.resolution is {resolution}, which {clash} has too; "
                "samples are named by their size"
            )
        pretrained = params.get("pretrained") is not None
        if not images and not pretrained:
            raise CascadeSpecError(
                f"{where}: cascade.images is false, but {name} would be trained; "
                "give it `pretrained`, or set images: true"
            )
        training = params.get("training")
        selects = isinstance(training, dict) and training.get("selection") is not None
        known[name] = ModelSpec(name, resolution, low, low_resolution, pretrained, selects)
    spec = CascadeSpec(
        tuple(known.values()),
        images and _uses_embedded(conf, env),
        images,
        sample_inputs=_sample_inputs(values.get("sample"), known),
    )
    if not images:
        return spec
    spec = replace(
        spec,
        stored=_stored(values.get("preprocess"), origin, known),
        searches=_searches(values, origin, spec),
        classified=_classified(values, origin, spec),
        claim=_claim(values, origin, spec),
    )
    return replace(spec, included=_included(values, origin, spec))


def _stored(preprocess: Any, origin: dict[str, Path], known: dict[str, ModelSpec]) -> tuple[int, ...]:
    stored = tuple((preprocess or {}).get("resolutions") or RESOLUTIONS)
    missing = sorted({stage.resolution for stage in known.values() if not stage.pretrained} - set(stored))
    if missing:
        raise CascadeSpecError(
            f"{origin.get('preprocess', 'parameters')}: preprocess.resolutions {list(stored)} lacks {missing}, which "
            "the cascade is trained on"
        )
    return stored


def _sample_inputs(sample: Any, known: dict[str, ModelSpec]) -> tuple[str, ...]:
    """What the node needs beyond models; wrong values are left to the typed parameters."""
    names: dict[str, None] = {}
    stages = sample.get("stages") if isinstance(sample, dict) else None
    for name, settings in (stages or {}).items():
        if not isinstance(settings, dict) or name not in known:
            continue
        if settings.get("conditioning") in ("train", "val") and known[name].low_resolution is not None:
            names[f"{settings['conditioning']}_{known[name].low_resolution}"] = None
        names |= {f"{search}_best": None for search in asked_searches(settings)}
    return tuple(names)


def _searches(values: dict[str, Any], origin: dict[str, Path], spec: CascadeSpec) -> tuple[tuple[str, str], ...]:
    """Searches whose stages this cascade has; one that an environment inherits for another cascade is left out."""
    found = []
    for search in SEARCHES:
        params = values.get(search)
        if not isinstance(params, dict):
            continue
        stage, stages = params.get("stage"), params.get("stages")
        fits = any(s.name == stage for s in spec.stages) and isinstance(stages, dict)
        if fits and set(stages or {}) == {s.name for s in spec.chain(str(stage))}:
            found.append((search, str(stage)))
        elif origin[search].parent == origin["cascade"].parent:
            raise CascadeSpecError(
                f"{origin[search]}: {search}.stages must hold {search}.stage ({stage!r}) and the stages below it, "
                f"and no other; the cascade's are {[s.name for s in spec.stages]}"
            )
    return tuple(found)


def _claim(values: dict[str, Any], origin: dict[str, Path], spec: CascadeSpec) -> ClaimSpec | None:
    """The claim, unless an environment inherits it for another cascade; other wrong values are left to the types."""
    claim = values.get("claim")
    if not isinstance(claim, dict):
        return None
    where, known = origin["claim"], {stage.name: stage for stage in spec.stages}
    parts = {key: value for key, value in claim.items() if isinstance(value, dict)}
    name = str(parts.get("sweep", {}).get("stage"))
    if name not in known and where.parent != origin["cascade"].parent:
        return None
    if name not in known or known[name].low is None:
        raise CascadeSpecError(
            f"{where}: claim.sweep.stage is {name!r}; it must be a super-resolution stage of {list(known)}"
        )
    chain, stages = [s.name for s in spec.chain(name)], parts.get("sweep", {}).get("stages")
    if not isinstance(stages, dict) or set(stages) != set(chain):
        raise CascadeSpecError(f"{where}: claim.sweep.stages must hold {chain}, and no other stage")
    resolution = parts.get("baseline", {}).get("resolution")
    if resolution != known[name].resolution:
        raise CascadeSpecError(
            f"{where}: claim.baseline.resolution is {resolution!r}; {name} models {known[name].resolution} pixels"
        )
    seeds = claim.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) and s >= 0 for s in seeds):
        raise CascadeSpecError(f"{where}: claim.seeds is {seeds!r}; it must be a list of numbers, 0 or more")
    if len(set(seeds)) != len(seeds):
        raise CascadeSpecError(f"{where}: claim.seeds {seeds} holds a number twice")
    unknown = sorted(set(claim) - {"seeds", "sweep", "baseline", "classifier"})
    if unknown:
        raise CascadeSpecError(
            f"{where}: claim.{unknown[0]} is not a key; known are seeds, sweep, baseline, classifier"
        )
    _refuse_untestable(where, parts["sweep"], {stage: values[stage] for stage in chain})
    return ClaimSpec(name, tuple(seeds))


def _refuse_untestable(where: Path, sweep: dict[str, Any], stages: dict[str, Any]) -> None:
    """Refuse now what would be found after hours of training; what the types refuse is left to them."""
    from pydantic import ValidationError

    from cdm_kedro.params.claim import ClaimError, ClaimSweepParams, trained_stages

    try:
        trained_stages(ClaimSweepParams.model_validate(sweep), stages)
    except ValidationError:
        return
    except ClaimError as error:
        raise CascadeSpecError(f"{where}: {error}") from None


def _classified(values: dict[str, Any], origin: dict[str, Path], spec: CascadeSpec) -> tuple[int, ...]:
    """Sizes at which classifiers are trained; those that an environment inherits and does not make are left out."""
    wanted = (values.get("cas") or {}).get("resolutions") or []
    missing = [resolution for resolution in wanted if resolution not in spec.resolutions]
    if missing and origin["cas"].parent == origin["cascade"].parent:
        raise CascadeSpecError(
            f"{origin['cas']}: cas.resolutions holds {missing[0]!r}; the cascade makes {list(spec.resolutions)} pixels"
        )
    return tuple(resolution for resolution in wanted if resolution not in missing)


def _included(values: dict[str, Any], origin: dict[str, Path], spec: CascadeSpec) -> tuple[str, ...]:
    """What the report shows beside the cascade; what an environment inherits and does not have is left out."""
    wanted = (values.get("report") or {}).get("include") or []
    known = [*(["cas"] if spec.classified else []), "likelihood", *(name for name, _ in spec.searches)]
    known += ["claim"] if spec.claim else []
    missing = [name for name in wanted if name not in known]
    if missing and origin["report"].parent == origin["cascade"].parent:
        raise CascadeSpecError(f"{origin['report']}: report.include holds {missing[0]!r}; it may hold {known}")
    return tuple(name for name in wanted if name not in missing)
