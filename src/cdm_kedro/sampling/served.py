"""The cascade as MLflow loads and serves it; MLflow copies this file into the model and runs it from there.

``sampling.mlflow_model`` writes the folder that this file reads.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method")  # the signature says more


class CascadeModel(mlflow.pyfunc.PythonModel):
    """A table of classes in, a table of pictures out."""

    def load_context(self, context: Any) -> None:
        """Remember where the weights are; the networks are loaded with the first request."""
        self.folder = Path(context.artifacts["cascade"])
        said = json.loads((self.folder / "cascade.json").read_text(encoding="utf-8"))
        self.classes, self.sampling, self.stages = said["classes"], said["sampling"], said["models"]
        self._loaded: tuple[Any, Any] = (None, None)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow would try to use them
        """Sample pictures.

        Returns ``row`` of the input, ``class``, ``seed``, ``resolution`` and ``image``, the base64 text of a PNG file.
        Raises MlflowException if there is no such class or size, or the models cannot be sampled so. ``model_input``:
        a row a picture: ``class``, a name or an index, and optionally ``seed`` (0). Rows of the same class and seed
        are different pictures, namely those of `kedro sample-class CLASS --seed SEED`. ``params``: ``s``, the
        conditioning augmentation of every model that has Gaussian augmentation, and ``steps``, the reverse steps of
        every model (both as in the evaluated cascade where not given); ``resolution`` in pixels; ``every_resolution``,
        to have the sizes below it too.
        """
        import pandas as pd

        from cdm_kedro.sampling.inputs import class_index
        from cdm_kedro.sampling.tiles import png_text

        params = params or {}
        try:
            labels = [class_index(value, self.classes) for value in model_input["class"]]
            seeds = [int(seed) for seed in model_input["seed"]] if "seed" in model_input else [0] * len(labels)
            cascade = self._cascade(params.get("s"), params.get("steps"), params.get("resolution"))
            rows: dict[tuple[int, int], list[int]] = {}
            for row, asked in enumerate(zip(labels, seeds, strict=True)):
                rows.setdefault(asked, []).append(row)
            found = []
            for (label, seed), numbers in rows.items():
                images = cascade.sample([label] * len(numbers), seed=seed)
                sizes = sorted(images) if params.get("every_resolution") else [max(images)]
                for i, row in enumerate(numbers):
                    found += [(row, self.classes[label], seed, size, png_text(images[size][i])) for size in sizes]
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame(sorted(found), columns=["row", "class", "seed", "resolution", "image"])

    def _cascade(self, s: int | None, steps: int | None, resolution: int | None) -> Any:
        """The models up to a size; those of the last request are kept."""
        from cdm_kedro.model.load import read_description
        from cdm_kedro.params.sampling import SamplingParams
        from cdm_kedro.sampling.best import asked
        from cdm_kedro.sampling.cascade import Cascade

        request = (s, steps, resolution)
        if self._loaded[0] != request:
            models = {name: self.folder / f"{name}.safetensors" for name in self.stages}
            sizes = {read_description(path)[0].resolution: name for name, path in models.items()}
            if resolution is not None and resolution not in sizes:
                raise ValueError(f"resolution is {resolution}; the cascade makes {sorted(sizes)}")
            sampling = asked(SamplingParams.model_validate(self.sampling), models, s=s, steps=steps)
            target = None if resolution in (None, max(sizes)) else sizes[resolution]
            self._loaded = request, Cascade.from_files(models, sampling, target=target)
        return self._loaded[1]


mlflow.models.set_model(CascadeModel())
