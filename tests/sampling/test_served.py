"""The cascade as an MLflow model: loaded in a fresh process elsewhere, and served over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.files.links import link_or_copy
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.mlflow_model import WEIGHTS, write_model
from servers import mlflow_serving
from tiny_cascade import CASCADE, sampling
from tiny_cascade import write_model as write_weights

CLASSES = ["cat", "dog", "eel", "fox"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {name: write_weights(folder / f"{name}.safetensors", raw) for name, raw in CASCADE.items()}


@pytest.fixture(scope="module")
def model(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder."""
    folder = tmp_path_factory.mktemp("scratch") / "model"
    write_model(folder, list(weights), sampling(), CLASSES)
    for name, path in weights.items():
        link_or_copy(path, folder / WEIGHTS.format(name=name))
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of a process that knows nothing of the project."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    return {"cwd": tmp_path_factory.mktemp("elsewhere"), "env": env}


def pixels(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def sampled(weights: dict[str, Path], label: int, number: int, seed: int, **changes: Any) -> dict[int, Any]:
    cascade = Cascade.from_files(weights, sampling(**changes))
    images = cascade.sample([label] * number, seed=seed)
    return {size: batch.permute(0, 2, 3, 1).numpy() for size, batch in images.items()}


def test_a_fresh_process_elsewhere_makes_the_same_pictures(
    model: Path, weights: dict[str, Path], elsewhere: dict[str, Any]
) -> None:
    code = f"""
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model({str(model)!r})
table = pd.DataFrame({{"class": ["dog", 3, "dog", 1], "seed": [7, 0, 7, 8]}})
made = {{"plain": model.predict(table)}}
made["all"] = model.predict(table, params={{"every_resolution": True}})
made["other"] = model.predict(table[:1], params={{"s": 5, "steps": 3, "resolution": 16}})
made["no seed"] = model.predict(pd.DataFrame({{"class": ["cat"]}}))
made["again"] = model.predict(table)
import cdm_kedro
print(json.dumps({{"file": cdm_kedro.__file__, **{{key: one.to_dict("list") for key, one in made.items()}}}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **elsewhere)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["file"].startswith(str(model / "code"))
    plain, every = made["plain"], made["all"]
    assert plain["row"] == [0, 1, 2, 3] and plain["class"] == ["dog", "fox", "dog", "dog"]
    assert plain["seed"] == [7, 0, 7, 8] and plain["resolution"] == [32] * 4 and made["again"] == plain
    two = sampled(weights, 1, 2, 7)
    expected = [two[32][0], sampled(weights, 3, 1, 0)[32][0], two[32][1], sampled(weights, 1, 1, 8)[32][0]]
    for text, image in zip(plain["image"], expected, strict=True):
        np.testing.assert_array_equal(pixels(text), image)
    assert every["resolution"] == [8, 16, 32] * 4 and every["row"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    np.testing.assert_array_equal(pixels(every["image"][6]), two[8][1])
    settings = json.loads(sampling().model_dump_json())
    for name, stage in settings["stages"].items():
        stage |= {"steps": 3, **({"s": 5} if name == "sr" else {})}
    same = Cascade.from_files(weights, sampling().model_validate(settings), target="sr").sample([1], seed=7)
    assert made["other"]["resolution"] == [16]
    np.testing.assert_array_equal(pixels(made["other"]["image"][0]), same[16][0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(pixels(made["no seed"]["image"][0]), sampled(weights, 0, 1, 0)[32][0])


@pytest.fixture(scope="module")
def address(model: Path, elsewhere: dict[str, Any]) -> Iterator[str]:
    """Of `mlflow models serve`."""
    words = ("models", "serve", "-m", str(model), "--env-manager", "local", "--timeout", "240")
    with mlflow_serving(elsewhere["cwd"], *words, answers="/ping", env=elsewhere["env"]) as found:
        yield f"{found}/invocations"


def post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=200) as answer:
        return json.load(answer)


def test_a_post_is_answered_with_pictures(address: str, weights: dict[str, Path]) -> None:
    asked = {"dataframe_records": [{"class": "eel", "seed": 4}, {"class": 0, "seed": 0}]}
    found = post(address, {**asked, "params": {"every_resolution": True}})["predictions"]
    assert [one["resolution"] for one in found] == [8, 16, 32] * 2 and [one["class"] for one in found][::3] == [
        "eel",
        "cat",
    ]
    np.testing.assert_array_equal(pixels(found[2]["image"]), sampled(weights, 2, 1, 4)[32][0])


@pytest.mark.parametrize(
    ("row", "params", "words"),
    [
        ({"class": "gnu"}, {}, "no class 'gnu'; there are"),
        ({"class": 4}, {}, "no class 4"),
        ({"class": "cat"}, {"resolution": 64}, "the cascade makes [8, 16, 32]"),
        ({"class": "cat"}, {"s": 4000}, "s"),
        ({"species": "cat"}, {}, "class"),
    ],
)
def test_a_wrong_request_is_answered_with_400(address: str, row: Any, params: Any, words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(address, {"dataframe_records": [row], "params": params})
    assert caught.value.code == 400 and words in caught.value.read().decode()
