"""The claim's page: what was measured, and which of the paper's statements it bears out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.pictures import read_caption
from cdm_kedro.evaluation.report import image_uri
from cdm_kedro.studies.claim.statements import Difference, Judged, Verdict

DISAGREE = "extractors disagree"


def _plain(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    def bound(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return [
        {"what": d.what, "mean": d.value.mean, "low": bound(d.value.low), "high": bound(d.value.high)}
        for d in differences
    ]


def across(by_extractor: dict[str, list[Judged]]) -> list[dict[str, Any]]:
    """Statements with the verdict of every extractor and the one on which they agree.

    Where one says that a statement holds and another that it does not, they disagree; where one is undecided, so is the
    whole.

    Args:
        by_extractor: name to what :func:`~cdm_kedro.studies.claim.statements.judge` returned.

    Returns:
        ``key``, ``text``, ``verdict``, and ``by`` extractor its ``verdict``, ``text``, ``level``, ``differences`` and
        those ``beside``; bounds are None where there was one seed.
    """
    out = []
    for number, first in enumerate(next(iter(by_extractor.values()))):
        own = {name: judged[number] for name, judged in by_extractor.items()}
        verdicts = {judged.verdict for judged in own.values()}
        verdict: Verdict | str = "undecided"
        if len(verdicts) == 1:
            verdict = first.verdict
        elif {"holds", "does not hold"} <= verdicts:
            verdict = DISAGREE
        by = {
            name: {
                "verdict": judged.verdict,
                "text": judged.text,
                "level": judged.level,
                "differences": _plain(judged.differences),
                "beside": _plain(judged.beside),
            }
            for name, judged in own.items()
        }
        text = first.text.split(", within")[0]  # the margin is the extractor's own
        out.append({"key": first.key, "text": text, "verdict": verdict, "by": by})
    return out


def render(
    statements: Sequence[dict[str, Any]],
    table: Sequence[dict[str, Any]],
    metrics: dict[str, tuple[str, str]],
    agreement: dict[str, float | None],
    facts: dict[str, Any],
    pictures: Sequence[Path],
) -> str:
    """The page as HTML, without external assets.

    Args:
        statements: of :func:`across`.
        table: rows of :func:`~cdm_kedro.studies.claim.table.average`.
        metrics: extractor to the table's columns of its Fréchet distance and its class score.
        agreement: how alike two extractors order the points.
        facts: ``budget``, model ``cards``, ``classifier`` scores, ``seeds``, ``n`` samples each, ``floors`` (score of
            real validation images and their number), ``noticed`` of ``sensitivity`` by extractor,
            ``resolution`` and ``low_resolution``.
        pictures: PNG files with captions.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        statements=statements,
        table=table,
        metrics=metrics,
        agreement=agreement,
        facts=facts,
        pictures=[(image_uri(path), read_caption(path)) for path in pictures],
    )
