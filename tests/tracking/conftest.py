from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import mlflow_serving


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables, which take seconds to create."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("store")
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder / "mlruns"))
    return folder / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with an empty MLflow store; it is the working directory."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "CDM_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(root: Path) -> Callable[[], dict[str, Any]]:
    """The store's runs by name."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")

    def read() -> dict[str, Any]:
        experiment = client.get_experiment_by_name("cdm-kedro")
        found = client.search_runs([experiment.experiment_id]) if experiment else []
        return {run.info.run_name: run for run in found}

    return read


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Where the server stores; its artifacts are in ``store``."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "server.db")
    return folder


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[str]:
    """Address of an `mlflow server` that stores artifacts itself, and the rest in SQLite or in CDM_MLFLOW_STORE."""
    store = os.environ.get("CDM_MLFLOW_STORE", "sqlite:///server.db")
    words = ("server", "--workers", "1", "--backend-store-uri", store, "--artifacts-destination", "store")
    env = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    with mlflow_serving(server_folder, *words, answers="/health", env=env) as address:
        yield address
