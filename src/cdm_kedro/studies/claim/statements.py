"""The paper's statements (Tables 2b, 3a and 3b), each judged from scores over several seeds.

A difference is taken within each seed, since all points of a seed share their noise, and its mean over seeds is given a
Student interval. Where a statement speaks of the best s, each seed's is chosen on the other seeds, so that the luckiest
of many points gains nothing by its luck; the choices of different seeds still share scores, which makes 95 % intervals
too narrow, so those are of 99 %. A statement of k parts holds if all parts do at its level, and does not hold if one
part is on the other side at 95 % shared among the k.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.params.claim import SINGLE

Row = dict[str, Any]
Verdict = Literal["holds", "does not hold", "undecided"]
Float = NDArray[np.float64]

GENERATED = ("truncated", "non_truncated")
REAL = ("train", "val")
MARGIN = 0.25
"""Truncated and non-truncated count as equal if their best differ by less than this share of what the best s gains."""
LEVEL, LEVEL_OF_BEST = 0.95, 0.99


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its interval; of one seed, without bounds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """What was subtracted from what, and the result."""

    what: str
    value: Interval


@dataclass(frozen=True)
class Judged:
    """One statement and what the scores say of it.

    Attributes:
        key: i to v.
        text: the statement.
        verdict: what its differences say.
        level: of the intervals.
        differences: that decide; positive speaks for the statement, except in (iv).
        beside: further ones, to be read.
    """

    key: str
    text: str
    verdict: Verdict
    level: float
    differences: tuple[Difference, ...]
    beside: tuple[Difference, ...] = ()


def interval(values: Sequence[float] | Float, level: float = LEVEL) -> Interval:
    """Mean and Student interval of independent values; of one value, the whole line."""
    from scipy import stats

    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


class Scores:
    """Scores of one metric by point and seed.

    Args:
        rows: with ``seed``, ``conditioning``, ``s`` and the metric; lower is better. Generated inputs at s = 0 are
            "none", the single model is "single".
        metric: name of a column.
        exact: the scores are published numbers, to be taken as they are: their intervals have no width.

    Raises:
        ValueError: a point that some seed lacks.
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
        """Ascending s, with 0 first, and (len(s), seeds) scores of a way of conditioning; empty where it is absent."""
        own = {s: values for (conditioning, s), values in self.points.items() if conditioning == mode}
        if own and mode in GENERATED:
            own[0] = self.points["none", 0]
        levels = sorted(own)
        return levels, np.array([own[s] for s in levels]).reshape(len(levels), len(self.seeds))

    def best(self, modes: Sequence[str], inner: bool = False) -> tuple[Float, str]:
        """(seeds,) scores at the best s > 0 of generated inputs, each chosen on the other seeds; and where that was.

        Args:
            modes: to choose from.
            inner: leave the largest s out.
        """
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
        """Of values over the seeds."""
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
) -> Judged:
    """Judge a statement that all of some differences, (seeds,) each, are positive."""
    shared = 1 - (1 - LEVEL) / len(parts)
    found = [Difference(what, scores.interval(values, level)) for what, values in parts]
    verdict: Verdict = "undecided"
    if all(_sign(difference.value) == "holds" for difference in found):
        verdict = "holds"
    elif any(scores.interval(values, max(level, shared)).high < 0 for _, values in parts):
        verdict = "does not hold"
    told = tuple(Difference(what, scores.interval(values)) for what, values in beside)
    return Judged(key, text, verdict, level, tuple(found), told)


def _best_beats_zero(scores: Scores) -> Judged:
    best, at = scores.best(GENERATED)
    parts = [(f"score at s = 0 minus the best ({at})", scores.points["none", 0] - best)]
    text = "Conditioned on generated images, the best s > 0 beats s = 0"
    return _positive(scores, "i", text, LEVEL_OF_BEST, parts)


def _turns(scores: Scores) -> Judged:
    parts = []
    for mode in GENERATED:
        levels, values = scores.curve(mode)
        best, at = scores.best([mode], inner=True)
        parts += [
            (f"s = 0 minus the best in between ({at})", values[0] - best),
            (f"{_name(mode)} s = {levels[-1]} minus the best in between ({at})", values[-1] - best),
        ]
    text = "Conditioned on generated images, quality improves and then degrades with s"
    return _positive(scores, "ii", text, LEVEL_OF_BEST, parts)


def _only_degrades(scores: Scores) -> Judged:
    parts = []
    for mode in REAL:
        levels, values = scores.curve(mode)
        for i in range(1, len(levels)):
            parts.append((f"{_name(mode)}: s = {levels[i]} minus s = {levels[i - 1]}", values[i] - values[i - 1]))
    return _positive(scores, "iii", "Conditioned on real images, quality only degrades with s", LEVEL, parts)


def _as_good(scores: Scores) -> Judged:
    """Equivalence of the two modes' best: an interval within the margin holds, one beyond it does not."""
    (truncated, at_a), (noised, at_b) = (scores.best([mode]) for mode in GENERATED)
    gain = scores.interval(scores.points["none", 0] - scores.best(GENERATED)[0], LEVEL_OF_BEST)
    margin = MARGIN * max(gain.mean, 0.0)
    found = scores.interval(truncated - noised, LEVEL_OF_BEST)
    verdict: Verdict = "undecided"
    if gain.low > 0 and -margin <= found.low and found.high <= margin:
        verdict = "holds"
    elif gain.low > 0 and (found.low > margin or found.high < -margin):
        verdict = "does not hold"
    levels, a = scores.curve(GENERATED[0])
    _, b = scores.curve(GENERATED[1])
    beside = tuple(
        Difference(f"s = {levels[i]}: truncated minus non-truncated", scores.interval(a[i] - b[i]))
        for i in range(1, len(levels))
    )
    text = f"Truncated and non-truncated are as good at their best s, within {margin:.3g} ({MARGIN:.0%} of the gain)"
    differences = (Difference(f"best of truncated ({at_a}) minus best of non-truncated ({at_b})", found),)
    return Judged("iv", text, verdict, LEVEL_OF_BEST, differences, beside)


def _beats_single(scores: Scores) -> Judged:
    best, at = scores.best(GENERATED)
    single, none = scores.points[SINGLE, 0], scores.points["none", 0]
    text = "The cascade with augmentation beats a single model of the same training compute"
    parts, beside = (
        [(f"single model minus the best ({at})", single - best)],
        [("single model minus s = 0", single - none)],
    )
    return _positive(scores, "v", text, LEVEL_OF_BEST, parts, beside)


def judge(scores: Scores) -> list[Judged]:
    """Statements (i) to (iv), and (v) where the single model was scored.

    (i) and (v) compare with the best of both ways of making z_s; (ii) asks each of them, and of an s between 0 and the
    largest; (iii) asks every step from one s to the next; (iv) compares the best of each way.
    """
    out = [_best_beats_zero(scores), _turns(scores), _only_degrades(scores), _as_good(scores)]
    return [*out, _beats_single(scores)] if (SINGLE, 0) in scores.points else out


def agreement(a: Scores, b: Scores) -> dict[str, float | None]:
    """How alike two metrics order the points.

    Returns:
        ``spearman``, the rank correlation of the means, and of the pairs of points that both metrics separate at 95 %
        (``pairs``), the share that they order alike (``alike``); None where there is nothing to compare.
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
