"""The paper's statements on conditioning augmentation (Tables 2b, 3a and 3b), tested with scores over several seeds.

All points of a seed share their noise. A difference is therefore taken within each seed, and its mean over the seeds
has a Student interval. If a statement speaks of the best s, that of each seed is chosen on the other seeds, so that the
luckiest of many points gains nothing by its luck. The choices of different seeds still share scores, which makes 95 %
intervals too narrow, so these intervals are of 99 %. A statement of k parts holds if all of them hold at its level. It
does not hold if one part lies on the other side at 95 %, shared among the k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """A mean over seeds and its interval, which has no bounds if there is one seed."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """What was subtracted from what, in words, and the result."""

    what: str
    value: Interval


@dataclass(frozen=True)
class Statement:
    """One statement of the paper and what the scores say about it.

    ``differences`` decide the verdict; positive ones speak for the statement, except in (iv). ``beside``: further
    differences for the reader, at 95 %.
    """

    key: str
    text: str
    verdict: Verdict
    level: float
    differences: tuple[Difference, ...]
    beside: tuple[Difference, ...] = ()


def interval(values: Sequence[float] | Float, level: float = LEVEL) -> Interval:
    """Mean and Student interval of independent values; one value has no bounds."""
    from scipy import stats

    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


class Scores:
    """The scores of one metric by point and seed; lower is better.

    Raises ValueError if a seed lacks a point that another seed has. ``rows``: with ``seed``, ``conditioning``, ``s``
    and the metric. Generated inputs at s = 0 are called "none", the single model "single". ``exact``: the scores are
    published numbers, whose intervals have no width.
    """

    def __init__(self, rows: Iterable[Row], metric: str, exact: bool = False) -> None:
        rows, self.exact = list(rows), exact
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
        table = np.array(values)
        chosen = []
        for seed in range(table.shape[1]):
            others = np.delete(table, seed, axis=1) if table.shape[1] > 1 else table
            chosen.append(int(others.mean(1).argmin()))
        return table[chosen, np.arange(table.shape[1])], " or ".join(names[i] for i in sorted(set(chosen)))

    def interval(self, values: Float, level: float = LEVEL) -> Interval:
        """Interval of values (seeds,)."""
        mean = float(values.mean())
        return Interval(mean, mean, mean) if self.exact else interval(values, level)


def _name(mode: str) -> str:
    return {"non_truncated": "non-truncated", "train": "training images", "val": "validation images"}.get(mode, mode)


def _sign(value: Interval) -> Verdict:
    return "holds" if value.low > 0 else "does not hold" if value.high < 0 else "undecided"


def _positive(
    scores: Scores,
    key: str,
    text: str,
    level: float,
    parts: Sequence[tuple[str, Float]],
    beside: Sequence[tuple[str, Float]] = (),
) -> Statement:
    """Test the statement that all of some differences, (seeds,) each, are positive."""
    shared = 1 - (1 - LEVEL) / len(parts)
    found = [Difference(what, scores.interval(values, level)) for what, values in parts]
    verdict: Verdict = "undecided"
    if all(_sign(difference.value) == "holds" for difference in found):
        verdict = "holds"
    elif any(scores.interval(values, max(level, shared)).high < 0 for _, values in parts):
        verdict = "does not hold"
    told = tuple(Difference(what, scores.interval(values)) for what, values in beside)
    return Statement(key, text, verdict, level, tuple(found), told)


def _turns(scores: Scores) -> list[tuple[str, Float]]:
    parts = []
    for mode in GENERATED:
        levels, values = scores.curve(mode)
        best, at = scores.best([mode], inner=True)
        parts += [
            (f"s = 0 minus the best in between ({at})", values[0] - best),
            (f"{_name(mode)} s = {levels[-1]} minus the best in between ({at})", values[-1] - best),
        ]
    return parts


def _rises(scores: Scores) -> list[tuple[str, Float]]:
    parts = []
    for mode in REAL:
        levels, values = scores.curve(mode)
        for i in range(1, len(levels)):
            parts.append((f"{_name(mode)}: s = {levels[i]} minus s = {levels[i - 1]}", values[i] - values[i - 1]))
    return parts


def _as_good(scores: Scores, gained: Float) -> Statement:
    """The best of both modes are equal if their difference's interval lies within a share of what they gain."""
    (truncated, at_a), (noised, at_b) = (scores.best([mode]) for mode in GENERATED)
    gain = scores.interval(gained, LEVEL_OF_BEST)
    margin = MARGIN * max(gain.mean, 0.0)
    found = scores.interval(truncated - noised, LEVEL_OF_BEST)
    verdict: Verdict = "undecided"
    if gain.low > 0 and -margin <= found.low and found.high <= margin:
        verdict = "holds"
    elif gain.low > 0 and (found.low > margin or found.high < -margin):
        verdict = "does not hold"
    (levels, a), (_, b) = (scores.curve(mode) for mode in GENERATED)
    beside = tuple(
        Difference(f"s = {levels[i]}: truncated minus non-truncated", scores.interval(a[i] - b[i]))
        for i in range(1, len(levels))
    )
    text = f"Truncated and non-truncated are as good at their best s, within {margin:.3g} ({MARGIN:.0%} of the gain)"
    differences = (Difference(f"best of truncated ({at_a}) minus best of non-truncated ({at_b})", found),)
    return Statement("iv", text, verdict, LEVEL_OF_BEST, differences, beside)


def assess(scores: Scores) -> list[Statement]:
    """Test the statements (i) to (iv), and (v) if the single model was scored.

    (i) and (v) compare with the best of truncated and non-truncated together. (ii) asks both modes, and of an s between
    0 and the largest. (iii) asks every step from one s to the next. (iv) compares the best of each mode.
    """
    none, single = scores.points["none", 0], scores.points.get((SINGLE, 0))
    best, at = scores.best(GENERATED)
    gained = [(f"score at s = 0 minus the best ({at})", none - best)]
    i = "Conditioned on generated images, the best s > 0 beats s = 0"
    ii = "Conditioned on generated images, quality improves and then degrades with s"
    iii = "Conditioned on real images, quality only degrades with s"
    v = "The cascade with augmentation beats a single model of the same training compute"
    out = [
        _positive(scores, "i", i, LEVEL_OF_BEST, gained),
        _positive(scores, "ii", ii, LEVEL_OF_BEST, _turns(scores)),
        _positive(scores, "iii", iii, LEVEL, _rises(scores)),
        _as_good(scores, none - best),
    ]
    if single is not None:
        parts = [(f"single model minus the best ({at})", single - best)]
        beside = [("single model minus s = 0", single - none)]
        out.append(_positive(scores, "v", v, LEVEL_OF_BEST, parts, beside))
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
        verdict: str = "undecided"
        if len(verdicts) == 1:
            verdict = same[0].verdict
        elif {"holds", "does not hold"} <= verdicts:
            verdict = DISAGREE
        by = {
            name: {
                "verdict": statement.verdict,
                "text": statement.text,
                "level": statement.level,
                "differences": [_plain(difference) for difference in statement.differences],
                "beside": [_plain(difference) for difference in statement.beside],
            }
            for name, statement in zip(by_extractor, same, strict=True)
        }
        text = same[0].text.split(", within")[0]  # each extractor has its own margin
        out.append({"key": same[0].key, "text": text, "verdict": verdict, "by": by})
    return out


def _plain(difference: Difference) -> dict[str, Any]:
    low, high = (bound if np.isfinite(bound) else None for bound in (difference.value.low, difference.value.high))
    return {"what": difference.what, "mean": difference.value.mean, "low": low, "high": high}


def rank_agreement(a: Scores, b: Scores) -> dict[str, float | None]:
    """How alike two metrics order the points.

    Returns ``spearman``, the rank correlation of the points' means; ``pairs``, the number of pairs of points that both
    metrics separate at 95 %; and ``alike``, the share of those that they order alike. A value that does not exist is
    None.
    """
    from scipy import stats

    keys = sorted(a.points)
    means = [[float(scores.points[key].mean()) for key in keys] for scores in (a, b)]
    pairs, alike = 0, 0
    for i in range(len(keys)):
        for j in range(i):
            signs = [_sign(scores.interval(scores.points[keys[i]] - scores.points[keys[j]])) for scores in (a, b)]
            if "undecided" not in signs:
                pairs, alike = pairs + 1, alike + (signs[0] == signs[1])
    constant = any(len(set(own)) < 2 for own in means)
    return {
        "spearman": None if constant else float(stats.spearmanr(*means).statistic),
        "pairs": float(pairs),
        "alike": alike / pairs if pairs else None,
    }
