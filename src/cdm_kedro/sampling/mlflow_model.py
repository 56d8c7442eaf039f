"""The folder of an MLflow model that samples a cascade, without the weights."""

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from cdm_kedro.params.sampling import SamplingParams

CODE = Path(__file__).with_name("served.py")
"""What MLflow runs. No stage depends on it: new code of the same cascade alone makes no new version of it."""
WEIGHTS = "artifacts/cascade/{name}.safetensors"  # where the weights of a network belong in the folder
_NEEDS = ("torch", "numpy", "pandas", "pillow", "pydantic", "safetensors", "tqdm")


def write_model(folder: Path, models: Sequence[str], sampling: SamplingParams, classes: list[str]) -> None:
    """Write the model: code of this package, signature, example of a request, and the packages that it needs.

    ``folder``: where; what is left of an earlier call is replaced. ``models``: names of the networks, lowest first.
    ``sampling``: how each is sampled; every stage must be conditioned on generated images.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema

    columns = {"row": "long", "class": "string", "seed": "long", "resolution": "long", "image": "string"}
    numbers = [ParamSpec(name, "long", None) for name in ("s", "steps", "resolution")]
    signature = ModelSignature(
        Schema([ColSpec(AnyType(), "class"), ColSpec("long", "seed", required=False)]),
        Schema([ColSpec(kind, name) for name, kind in columns.items()]),
        ParamSchema([*numbers, ParamSpec("every_resolution", "boolean", False)]),
    )
    said = {
        "classes": classes,
        "sampling": sampling.model_dump(mode="json", include=set(SamplingParams.model_fields)),
        "models": list(models),
    }
    shutil.rmtree(folder, ignore_errors=True)
    with TemporaryDirectory() as scratch:
        description = Path(scratch) / "cascade"
        description.mkdir()
        (description / "cascade.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(CODE),
            artifacts={"cascade": str(description)},
            code_paths=[str(Path(__file__).parents[1])],
            signature=signature,
            input_example=pd.DataFrame({"class": classes[:2], "seed": [0] * len(classes[:2])}),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _NEEDS],
        )
