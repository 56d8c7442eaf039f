"""Node that samples and scores every point of the claim with one seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdm_kedro.params.claim import SINGLE, ClaimSweepParams
from cdm_kedro.params.evaluation import EvaluateParams

if TYPE_CHECKING:
    from cdm_kedro.evaluation.sources import Images, NpzSource

_SHOWN = 10  # samples a point that are kept to be looked at


def _first(source: NpzSource) -> Images:
    return source.read(list(range(min(_SHOWN, source.count))))


def make_scores(seed: int) -> Callable[..., dict[str, Any]]:
    """The node of a seed."""

    def score_points(
        params: ClaimSweepParams,
        evaluate: EvaluateParams,
        reference: Path,
        classifier: Path,
        classifier_reference: Path,
        baseline: Path,
        **inputs: Path,
    ) -> dict[str, Any]:
        """Sample the cascade at every s and the single model, and score each by two extractors.

        Args:
            params: points and sampling.
            evaluate: the first extractor, and limits of both.
            reference: real images by the first extractor.
            classifier: weights of the second.
            classifier_reference: real images by the second.
            baseline: weights of the single model.
            inputs: ``<stage>_model`` lowest first, ``train_<resolution>`` and ``val_<resolution>`` FFCV files of the
                low resolution.

        Returns:
            ``table`` (CSV, a row a point) and ``pictures`` (npz: the first samples of every point, and their
            low-resolution inputs).
        """
        import numpy as np

        from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
        from cdm_kedro.evaluation.extractors.make import make_extractor
        from cdm_kedro.evaluation.reference import save_arrays
        from cdm_kedro.evaluation.sources import NpzSource
        from cdm_kedro.files.table import to_csv
        from cdm_kedro.model.load import read_description
        from cdm_kedro.studies.search.points import Point, truncation_points
        from cdm_kedro.studies.search.score import score_with
        from cdm_kedro.studies.search.sweep import sweep
        from cdm_kedro.tracking.live import live
        from cdm_kedro.tracking.scratch import scratch_dir

        models = {key.removesuffix("_model"): path for key, path in inputs.items() if key.endswith("_model")}
        real = {key: path for key, path in inputs.items() if key.startswith(("train_", "val_"))}
        stage, _ = read_description(models[params.stage])
        one_process = evaluate.model_copy(update={"devices": 1})  # others would make the first extractor
        by = [
            score_with(make_extractor(evaluate), evaluate, reference, stage.resolution),
            score_with(classifier_extractor(classifier), one_process, classifier_reference, stage.resolution),
        ]
        folder = scratch_dir(f"claim_seed{seed}")
        shown = folder / "pictures"
        shown.mkdir(parents=True, exist_ok=True)

        def score(samples: Path) -> dict[str, Any]:
            # Beside the point's finished scores, so that an interrupted sweep keeps them.
            np.save(shown / f"{samples.parent.name}.npy", _first(NpzSource(samples)))
            return {key: value for one in by for key, value in one(samples).items() if key != "extractor"}

        run = live()

        def on_point(point: Point, row: dict[str, Any], resumed: bool) -> None:
            tags = {"cdm.resumed": str(resumed)}
            with run.child(point.name, {**point.axes, **point.sampling.model_dump()}, tags) as own:
                own.log_metrics({key: value for key, value in row.items() if key not in point.axes}, step=0)

        seeded = params.model_copy(update={"seed": seed})
        alone = Point(SINGLE, {"conditioning": SINGLE}, params.baseline)
        single = seeded.model_copy(update={"stage": "claim_baseline", "stages": {"claim_baseline": params.baseline}})
        rows = sweep([alone], single, {"claim_baseline": baseline}, {}, folder, score, on_point).rows
        swept = sweep(truncation_points(seeded), seeded, models, real, folder, score, on_point)
        rows += swept.rows
        assert swept.low is not None  # the points hold generated inputs
        low = _first(NpzSource(swept.low))
        pictures = {path.stem: np.load(path, allow_pickle=False) for path in sorted(shown.glob("*.npy"))}
        out = folder / "pictures.npz"
        save_arrays(out, {"low": low, **pictures})
        return {"table": to_csv([{"seed": seed, **row} for row in rows]), "pictures": out}

    return score_points
