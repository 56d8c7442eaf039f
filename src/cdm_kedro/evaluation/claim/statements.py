"""The paper's statements (Tables 2b, 3a and 3b), each judged from scores over several seeds.

A difference is taken within each seed, since all points of a seed share their noise, and its mean over seeds is given a
95 % Student interval. Where a statement speaks of the best s, each seed's is chosen on the other seeds, so that the
luckiest of many points gains nothing by its luck.
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
MARGIN = 0.1
"""Truncated and non-truncated count as equal within this share of the score at s = 0; the paper's differ by 5 %."""
_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval; of one seed, the number itself three times."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """What was subtracted from what, and the result; positive speaks for the statement unless that says otherwise."""

    what: str
    value: Interval


@dataclass(frozen=True)
class Judged:
    """One statement and what the scores say of it."""

    key: str
    text: str
    verdict: Verdict
    differences: tuple[Difference, ...]


def interval(values: Sequence[float] | Float) -> Interval:
    """Mean and 95 % Student interval of independent values."""
    from scipy import stats

    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, mean, mean)
    half = float(stats.t.ppf((1 + _LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


class Scores:
    """Scores of one metric by point and seed.

    Args:
        rows: with ``seed``, ``conditioning``, ``s`` and the metric; lower is better. Generated inputs at s = 0 are
            "none", the single model is "single".
        metric: name of a column.

    Raises:
        ValueError: a point that some seed lacks.
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
        """Ascending s, with 0 first, and (len(s), seeds) scores of a way of conditioning; empty where it is absent."""
        own = {s: values for (conditioning, s), values in self.points.items() if conditioning == mode}
        if own and mode in GENERATED:
            own[0] = self.points["none", 0]
        levels = sorted(own)
        return levels, np.array([own[s] for s in levels]).reshape(len(levels), len(self.seeds))

    def best(self, modes: Sequence[str]) -> tuple[Float, list[str]]:
        """(seeds,) scores at the best s > 0 of generated inputs, chosen without the seed; and where that was."""
        names, values = [], []
        for mode in modes:
            levels, scores = self.curve(mode)
            names += [f"{_name(mode)} s = {s}" for s in levels[1:]]
            values += list(scores[1:])
        table = np.array(values)
        chosen = []
        for seed in range(table.shape[1]):
            others = np.delete(table, seed, axis=1) if table.shape[1] > 1 else table
            chosen.append(int(others.mean(1).argmin()))
        return table[chosen, np.arange(table.shape[1])], [names[i] for i in sorted(set(chosen))]


def _name(mode: str) -> str:
    return {"non_truncated": "non-truncated", "train": "training images", "val": "validation images"}.get(mode, mode)


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """Holds if all parts hold, does not hold if one does not."""
    if any(verdict == "does not hold" for verdict in verdicts):
        return "does not hold"
    return "holds" if all(verdict == "holds" for verdict in verdicts) else "undecided"


def _above_zero(value: Interval) -> Verdict:
    return "holds" if value.low > 0 else "does not hold" if value.high < 0 else "undecided"


def _within(value: Interval, margin: float) -> Verdict:
    if -margin <= value.low and value.high <= margin:
        return "holds"
    return "does not hold" if value.low > margin or value.high < -margin else "undecided"


def _positive(key: str, text: str, differences: list[Difference]) -> Judged:
    return Judged(key, text, combined([_above_zero(d.value) for d in differences]), tuple(differences))


def judge(scores: Scores) -> list[Judged]:
    """Statements (i) to (iv), and (v) where the single model was scored.

    (i) and (v) compare with the best of both ways of making z_s, (ii) asks each of them, (iii) every step from one s to
    the next. Intervals are not widened for the number of comparisons.
    """
    none = scores.points["none", 0]
    best, where = scores.best(GENERATED)
    at = " or ".join(where)
    out = [
        _positive(
            "i",
            "Conditioned on generated images, the best s > 0 beats s = 0",
            [Difference(f"score at s = 0 minus the best ({at})", interval(none - best))],
        )
    ]
    turns = []
    for mode in GENERATED:
        levels, values = scores.curve(mode)
        own, where = scores.best([mode])
        at_own = " or ".join(where)
        turns += [
            Difference(f"s = 0 minus the best ({at_own})", interval(none - own)),
            Difference(f"{_name(mode)} s = {levels[-1]} minus the best ({at_own})", interval(values[-1] - own)),
        ]
    out.append(_positive("ii", "Conditioned on generated images, quality improves and then degrades with s", turns))
    steps = []
    for mode in REAL:
        levels, values = scores.curve(mode)
        for i in range(1, len(levels)):
            what = f"{_name(mode)}: s = {levels[i]} minus s = {levels[i - 1]}"
            steps.append(Difference(what, interval(values[i] - values[i - 1])))
    out.append(_positive("iii", "Conditioned on real images, quality only degrades with s", steps))
    pairs = []
    (levels, truncated), (_, noised) = scores.curve(GENERATED[0]), scores.curve(GENERATED[1])
    for i in range(1, len(levels)):
        pairs.append(Difference(f"s = {levels[i]}: truncated minus non-truncated", interval(truncated[i] - noised[i])))
    margin = MARGIN * float(none.mean())
    out.append(
        Judged(
            "iv",
            f"Truncated and non-truncated are as good, within {margin:.3g} ({MARGIN:.0%} of the score at s = 0)",
            combined([_within(d.value, margin) for d in pairs]),
            tuple(pairs),
        )
    )
    if (SINGLE, 0) in scores.points:
        gain = interval(scores.points[SINGLE, 0] - best)
        out.append(
            _positive(
                "v",
                "The cascade with augmentation beats a single model of the same training compute",
                [Difference(f"single model minus the best ({at})", gain)],
            )
        )
    return out


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
            signs = [_above_zero(interval(scores.points[keys[i]] - scores.points[keys[j]])) for scores in (a, b)]
            if "undecided" not in signs:
                pairs, alike = pairs + 1, alike + (signs[0] == signs[1])
    constant = any(len(set(own)) < 2 for own in means)
    return {
        "spearman": None if constant else float(stats.spearmanr(*means).statistic),
        "pairs": float(pairs),
        "alike": alike / pairs if pairs else None,
    }
