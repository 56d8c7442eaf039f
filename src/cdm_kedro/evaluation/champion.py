"""What registration says of a cascade: the number that decides which one is the champion, and the model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.metrics import metric_names
from cdm_kedro.files.templates import fill_template

_HIGHER = ("score", "precision_train", "recall_train")


@dataclass(frozen=True)
class ChampionScore:
    """A cascade's score."""

    metric: str  # its name in the metrics file
    value: float
    higher: bool  # whether a higher one is better
    protocol: dict[str, Any]  # what must be equal in another cascade for the two to compare

    def standing(self, answer: dict[str, Any]) -> str:
        """Say how the cascade stands to the champion; ``answer`` is what registering it returned."""
        mine, score, before = f"version {answer['version']}", f"{self.metric} {self.value:.4g}", answer["best_before"]
        if before is None and answer["champion"]:
            return f"{mine} is the champion, the first one scored so: {score}"
        if before is None:
            return f"{mine} has {score}; the champion, version {answer['champion_version']}, was scored otherwise"
        gain = (self.value - before["value"]) * (1 if self.higher else -1)
        verb, word = ("beats", "better") if gain > 0 else ("does not beat", "worse")
        end = "; it is the champion now" if answer["champion"] and gain > 0 else ""
        return (
            f"{mine} {verb} version {before['version']}, the best so far: {score} instead of {before['value']:.4g} "
            f"({abs(gain):.4g} {word}){end}"
        )


def champion_score(metrics: dict[str, Any], data_card: dict[str, Any], which: str) -> ChampionScore | None:
    """Read the score of the largest size that ``evaluate.champion_metric`` names; None where evaluation has none."""
    extractor = metrics["extractor"]
    side = max(int(key.removesuffix("px")) for key in metrics if key.endswith("px"))
    scores = metrics[f"{side}px"]
    kind, _, split = which.partition("_")
    name = {**metric_names(extractor["name"]), "kd": f"kd_{extractor['name']}"}[kind] + (f"_{split}" if split else "")
    if name not in scores:
        return None
    protocol = {
        "metric": name,
        "size": side,
        "n": scores["n"],
        "reference": {split: scores.get(f"reference_n_{split}") for split in ("train", "val")},
        "extractor": {key: extractor[key] for key in ("name", "weights_sha256", "preprocessing")},
        "data": {split: data_card["betons"][f"{split}_{side}"]["sha256"] for split in ("train", "val")},
    }
    return ChampionScore(f"{side}px.{name}", float(scores[name]), which in _HIGHER, protocol)


def render_model_card(name: str, metrics: dict[str, Any], **facts: Any) -> str:
    """Write the model card, as Markdown: what a person wants to know before using the model.

    ``facts``: ``classes`` (names), ``cards`` of the networks by name, lowest first, ``models`` (how each is sampled),
    and ``data`` (what preprocessing recorded).
    """
    names = metric_names(metrics["extractor"]["name"])
    columns = [f"{names['fd']}_train", f"{names['fd']}_val", names["score"]]
    columns += [f"{names['precision']}_train", f"{names['recall']}_train"]
    sizes = sorted((key for key in metrics if key.endswith("px")), key=lambda key: int(key[:-2]))
    scores = {size: metrics[size] for size in sizes}
    extractor, template = metrics["extractor"], Path(__file__).with_name("model_card.md.j2")
    return fill_template(template, name=name, extractor=extractor, columns=columns, scores=scores, **facts)
