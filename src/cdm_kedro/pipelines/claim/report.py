"""Node that tests the claim; apart from sampling, so that another look at the numbers costs nothing."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.claim import ClaimSweepParams


def report_claim(
    params: ClaimSweepParams,
    budget: dict[str, Any],
    classifier_card: dict[str, Any],
    noticed: dict[str, dict[str, float]],
    reference: Path,
    classifier_reference: Path,
    real: Path,
    **parts: Any,
) -> dict[str, Any]:
    """Make the table, the statements, the figures and the page; see :func:`cdm_kedro.studies.claim.report.report`.

    ``parts`` holds ``table_<seed>`` (CSV), ``pictures_<seed>`` (npz) and ``card_<model>``.
    """
    from cdm_kedro.files.table import from_csv
    from cdm_kedro.studies.claim.report import report
    from cdm_kedro.tracking.scratch import scratch_dir

    rows = [row for key in sorted(parts) if key.startswith("table_") for row in from_csv(parts[key])]
    pictures = parts[f"pictures_{min(row['seed'] for row in rows)}"]
    cards = {key.removeprefix("card_"): value for key, value in parts.items() if key.startswith("card_")}
    facts = {"budget": budget, "cards": cards, "classifier": classifier_card, "noticed": noticed}
    return report(params, rows, [reference, classifier_reference], real, pictures, facts, scratch_dir("claim_report"))
