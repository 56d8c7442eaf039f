"""The paper's statements on conditioning augmentation (Tables 2b, 3a and 3b), tested with scores over several seeds.

All points of a seed share their noise. A difference is therefore taken within each seed, and its mean over the seeds
has a Student interval. If a statement speaks of the best s, that of each seed is chosen on the other seeds, so that the
luckiest of many points gains nothing by its luck. The choices of different seeds still share scores, which makes 95 %
intervals too narrow, so these intervals are of 99 %. A statement of k parts holds if all of them hold at its level. It
does not hold if one part lies on the other side at 95 %, shared among the k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.files.table import Row
from cdm_kedro.params.claim import SINGLE

Verdict = Literal["holds", "does not hold", "undecided"]
Float = NDArray[np.float64]

GENERATED = ("truncated", "non_truncated")
REAL = ("train", "val")
MARGIN = 0.25
"""Truncated and non-truncated count as equal if their best differ by less than this share of what the best s gains."""
LEVEL, LEVEL_OF_BEST = 0.95, 0.99
DISAGREE = "extractors disagree"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its interval, which has no bounds if there is one seed; ``what`` it is of, in words."""

    what: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Statement:
    """One statement of the paper and what the scores say about it."""

    key: str
    verdict: Verdict
    text: str
    level: float
    differences: list[Interval]  # which decide the verdict; positive ones speak for the statement, except in (iv)
    beside: list[Interval]  # further differences for the reader, at 95 %


def interval(values: Sequence[float] | Float, level: float = LEVEL, what: str = "") -> Interval:
    """Mean and Student interval of independent values; one value has no bounds."""
    from scipy import stats

    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(what, mean, float("-inf"), float("inf"))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(what, mean, mean - half, mean + half)


class Scores:
    """The scores of one metric by point and seed; lower is better.

    Raises ValueError if a seed lacks a point that another seed has. ``rows``: with ``seed``, ``conditioning``, ``s``
    and the metric. Generated inputs at s = 0 are called "none", the single model "single".
    """

    def __init__(self, rows: Iterable[Row], metric: str) -> None:
        rows = list(rows)
        self.seeds = sorted({row["seed"] for row in rows})
        found: dict[tuple[str, int], dict[int, float]] = {}
        for row in rows:
            found.setdefault((row["conditioning"], int(row.get("s") or 0)), {})[row["seed"]] = float(row[metric])
        for (conditioning, s), by_seed in found.items():
            if sorted(by_seed) != self.seeds:
                raise ValueError(f"{conditioning} at s = {s} was scored with seeds {sorted(by_seed)}, not {self.seeds}")
        self.points = {key: np.array([by_seed[seed] for seed in self.seeds]) for key, by_seed in found.items()}

    def curve(self, mode: str) -> tuple[list[int], Float]:
        """Ascending s from 0 on and the scores (len(s), seeds) of a way of conditioning; empty if it was not scored."""
        own = {s: values for (conditioning, s), values in self.points.items() if conditioning == mode}
        if own and mode in GENERATED:
            own[0] = self.points["none", 0]
        levels = sorted(own)
        return levels, np.array([own[s] for s in levels]).reshape(len(levels), len(self.seeds))

    def best(self, modes: Sequence[str], inner: bool = False) -> tuple[Float, str]:
        """Scores (seeds,) at the best s > 0, which is chosen for each seed on the other seeds; and the s chosen."""
        names: list[str] = []
        values: list[Float] = []
        for mode in modes:
            levels, scores = self.curve(mode)
            stop = len(levels) - 1 if inner else len(levels)
            names += [f"{_name(mode)} s = {s}" for s in levels[1:stop]]
            values += list(scores[1:stop])
        table, seeds = np.array(values), range(len(self.seeds))
        others = [np.delete(table, seed, axis=1) if len(seeds) > 1 else table for seed in seeds]
        chosen = [int(scores.mean(1).argmin()) for scores in others]
        return table[chosen, seeds], " or ".join(names[i] for i in sorted(set(chosen)))


def _name(mode: str) -> str:
    return {"non_truncated": "non-truncated", "train": "training images", "val": "validation images"}.get(mode, mode)


def _sign(value: Interval) -> Verdict:
    return "holds" if value.low > 0 else "does not hold" if value.high < 0 else "undecided"


def _positive(key: str, text: str, level: float, parts: Mapping[str, Float], beside: Mapping[str, Float]) -> Statement:
    """Test the statement that all of some differences, (seeds,) each, are positive."""
    shared = 1 - (1 - LEVEL) / len(parts)
    found = [interval(values, level, what) for what, values in parts.items()]
    verdict: Verdict = "undecided"
    if all(_sign(difference) == "holds" for difference in found):
        verdict = "holds"
    elif any(interval(values, max(level, shared)).high < 0 for values in parts.values()):
        verdict = "does not hold"
    told = [interval(values, what=what) for what, values in beside.items()]
    return Statement(key, verdict, text, level, found, told)


def _turns(scores: Scores) -> dict[str, Float]:
    parts = {}
    for mode in GENERATED:
        levels, values = scores.curve(mode)
        best, at = scores.best([mode], inner=True)
        for end, s in ((0, "s = 0"), (-1, f"{_name(mode)} s = {levels[-1]}")):
            parts[f"{s} minus the best in between ({at})"] = values[end] - best
    return parts


def _rises(scores: Scores) -> dict[str, Float]:
    return {
        f"{_name(mode)}: s = {s} minus s = {before}": value - lower
        for mode in REAL
        for (before, lower), (s, value) in pairwise(zip(*scores.curve(mode), strict=True))
    }


def _as_good(scores: Scores, gained: Float) -> Statement:
    """The best of both modes are equal if their difference's interval lies within a share of what they gain."""
    (truncated, at_a), (noised, at_b) = (scores.best([mode]) for mode in GENERATED)
    gain = interval(gained, LEVEL_OF_BEST)
    margin = MARGIN * max(gain.mean, 0.0)
    what = f"best of truncated ({at_a}) minus best of non-truncated ({at_b})"
    found = interval(truncated - noised, LEVEL_OF_BEST, what)
    verdict: Verdict = "undecided"
    if gain.low > 0 and -margin <= found.low and found.high <= margin:
        verdict = "holds"
    elif gain.low > 0 and (found.low > margin or found.high < -margin):
        verdict = "does not hold"
    (levels, a), (_, b) = (scores.curve(mode) for mode in GENERATED)
    differences = list(zip(levels, a - b, strict=True))[1:]
    beside = [interval(d, what=f"s = {s}: truncated minus non-truncated") for s, d in differences]
    text = f"Truncated and non-truncated are as good at their best s, within {margin:.3g} ({MARGIN:.0%} of the gain)"
    return Statement("iv", verdict, text, LEVEL_OF_BEST, [found], beside)


def assess(scores: Scores) -> list[Statement]:
    """Test the statements (i) to (iv), and (v) if the single model was scored.

    (i) and (v) compare with the best of truncated and non-truncated together. (ii) asks both modes, and of an s between
    0 and the largest. (iii) asks every step from one s to the next. (iv) compares the best of each mode.
    """
    none, single = scores.points["none", 0], scores.points.get((SINGLE, 0))
    best, at = scores.best(GENERATED)
    gained = {f"score at s = 0 minus the best ({at})": none - best}
    i = "Conditioned on generated images, the best s > 0 beats s = 0"
    ii = "Conditioned on generated images, quality improves and then degrades with s"
    iii = "Conditioned on real images, quality only degrades with s"
    v = "The cascade with augmentation beats a single model of the same training compute"
    out = [
        _positive("i", i, LEVEL_OF_BEST, gained, {}),
        _positive("ii", ii, LEVEL_OF_BEST, _turns(scores), {}),
        _positive("iii", iii, LEVEL, _rises(scores), {}),
        _as_good(scores, none - best),
    ]
    if single is not None:
        parts = {f"single model minus the best ({at})": single - best}
        beside = {"single model minus s = 0": single - none}
        out.append(_positive("v", v, LEVEL_OF_BEST, parts, beside))
    return out


def combine(by_extractor: Mapping[str, Sequence[Statement]]) -> list[dict[str, Any]]:
    """The verdict of all extractors together on every statement.

    Extractors disagree if one says that a statement holds and another that it does not. The verdict is undecided if one
    of them is undecided and none disagree. Returns ``key``, ``text``, ``verdict``, and ``by`` extractor its
    ``verdict``, ``text``, ``level``, ``differences`` and those ``beside``. Bounds are None if there was one seed.
    """
    out = []
    for same in zip(*by_extractor.values(), strict=True):
        verdicts = {statement.verdict for statement in same}
        split = DISAGREE if {"holds", "does not hold"} <= verdicts else "undecided"
        verdict = same[0].verdict if len(verdicts) == 1 else split
        by = {name: asdict(own, dict_factory=_plain) for name, own in zip(by_extractor, same, strict=True)}
        text = same[0].text.split(", within")[0]  # each extractor has its own margin
        out.append({"key": same[0].key, "text": text, "verdict": verdict, "by": by})
    return out


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: None if value in (float("-inf"), float("inf")) else value for key, value in fields if key != "key"}


def rank_agreement(a: Scores, b: Scores) -> dict[str, float | None]:
    """How alike two metrics order the points.

    Returns ``spearman``, the rank correlation of the points' means; ``pairs``, the number of pairs of points that both
    metrics separate at 95 %; and ``alike``, the share of those that they order alike. A value that does not exist is
    None.
    """
    from scipy import stats

    means = [[float(scores.points[key].mean()) for key in sorted(a.points)] for scores in (a, b)]
    pairs, alike = 0, 0
    for one, other in combinations(a.points, 2):
        signs = [_sign(interval(own.points[one] - own.points[other])) for own in (a, b)]
        if "undecided" not in signs:
            pairs, alike = pairs + 1, alike + (signs[0] == signs[1])
    constant = any(len(set(own)) < 2 for own in means)
    return {
        "spearman": None if constant else float(stats.spearmanr(*means).statistic),
        "pairs": float(pairs),
        "alike": alike / pairs if pairs else None,
    }
