"""What weights files say of a model."""

from __future__ import annotations

from cdm_kedro.params.model import SelectionParams, TrainingParams


def test_fields_that_came_later_are_not_in_the_dump_at_their_default() -> None:
    """Weights hold the dump in their metadata, so a new key would change their bytes."""
    plain = TrainingParams(steps=1, batch_size=1, selection=SelectionParams(every=1)).model_dump_json()
    assert "geometry" not in plain and "split" not in plain
    chosen = SelectionParams(every=1, split="val")
    said = TrainingParams(steps=1, batch_size=1, geometry=0.1, selection=chosen).model_dump_json()
    assert '"geometry":0.1' in said and '"split":"val"' in said
    assert TrainingParams.model_validate_json(said) == TrainingParams(
        steps=1, batch_size=1, geometry=0.1, selection=chosen
    )
