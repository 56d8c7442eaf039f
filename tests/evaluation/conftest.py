from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from summaries import PARAMS

from cdm_kedro.data.embedded.drawings import CLASSES
from cdm_kedro.data.embedded.generate import render
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.make import make_extractor


@pytest.fixture(scope="session")
def peer_script() -> Callable[[str], ModuleType]:
    """A comparison script by name; it holds the recipe of the weights and images behind a stored vector."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).parents[2] / "benchmarks" / "peers" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Ten pictures of each class, (N, 64, 64, 3) uint8."""
    return np.stack([render(name, "train", i, 64, 0) for i in range(10) for name in CLASSES])


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    return make_extractor(PARAMS)
