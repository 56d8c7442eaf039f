"""What conditioning augmentation does: the same low-resolution samples, enlarged at several s (as in Figure 7)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from cdm_kedro.files.npz import map_npz_array, write_arrays
from cdm_kedro.model.load import read_description
from cdm_kedro.params.model import GaussianAugmentation
from cdm_kedro.params.sampling import SamplingParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.job import consistency, consistency_sums

_COUNT = 8


def enlarge_at_several_s(
    models: Mapping[str, Path], params: SamplingParams, samples: Mapping[str, Path], folder: Path
) -> dict[str, Path]:
    """Enlarge the first samples with the same noise at s = 0, the s of sampling, and half and all of the trained range.

    The lowest model that was trained for every s at once does it, the non-truncated way. Returns ``several_s``, an npz
    with ``s`` and ``psnr`` to the input in dB (K,), ``low`` (B, h, w, 3) and ``images`` (K, B, H, W, 3) uint8; or
    nothing where no model was trained so. ``samples``: npz files ``samples_<resolution>``.
    """
    described = {name: read_description(path)[0] for name, path in models.items()}
    gaussian = {n: m.augmentation for n, m in described.items() if isinstance(m.augmentation, GaussianAugmentation)}
    name = next((name for name, augmentation in gaussian.items() if augmentation.s is None), None)
    if name is None:
        return {}
    model, most = described[name], gaussian[name].s_max
    arrays = [map_npz_array(samples[f"samples_{model.low_resolution}"], key)[:_COUNT] for key in ("arr_0", "arr_1")]
    low, labels = (torch.from_numpy(np.array(array)) for array in arrays)
    low, own = low.permute(0, 3, 1, 2), params.stages[name]
    stages = {**params.stages, name: own.model_copy(update={"conditioning": "generated", "truncated": False})}
    few = params.model_copy(update={"stages": stages, "batch_size": _COUNT, "compile": False})
    cascade = Cascade.from_files(models, few, target=name)
    levels = sorted({0, int(own.s), most // 2, most})
    made = [cascade.upsample(low, labels, s=s, seed=params.seed)[model.resolution].cpu() for s in levels]
    psnr = [consistency(consistency_sums(images, low)).get("psnr_to_input_db", np.inf) for images in made]
    pictures = {"low": low.permute(0, 2, 3, 1), "images": torch.stack(made).permute(0, 1, 3, 4, 2)}
    out = folder / "several_s.npz"
    write_arrays(out, {"s": levels, "psnr": psnr, "used": int(own.s), **pictures})
    return {"several_s": out}
