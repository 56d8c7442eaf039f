"""The model card of a registered cascade, as Markdown."""

from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.html import fill_template
from cdm_kedro.evaluation.scoring import metric_names


def render_model_card(name: str, metrics: dict[str, Any], **facts: Any) -> str:
    """Write what a person wants to know before using the model.

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
