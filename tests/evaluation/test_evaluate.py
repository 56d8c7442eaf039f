"""What makes a cascade's metrics doubtful."""

from __future__ import annotations

import numpy as np

from cdm_kedro.evaluation.evaluate import absent_classes


def test_classes_without_samples_are_told() -> None:
    assert absent_classes(np.array([0, 2, 2]), 5) == "3 of 5 classes have no sample (class 1, 3, 4…)"
    assert absent_classes(np.arange(5), 5) is None and absent_classes(None, 5) is None
