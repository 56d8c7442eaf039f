"""Our networks, converted from OpenAI's, and our diffusion formulas, against checkouts of theirs.

python benchmarks/peers/compare_openai.py --improved PATH --guided PATH   (either or both)

Builds each published network with random weights, converts it, and compares outputs in float32; then compares the
schedules, q_sample, posteriors, learned variances and losses at T = 4000.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from cdm_kedro.diffusion.losses import hybrid_loss
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas
from cdm_kedro.model.convert import convert_openai
from cdm_kedro.model.unet import UNet

# The flags published with each file, as our arguments, and as theirs.
SMALL = {"channels": 192, "num_classes": 1000, "learned_variances": True}
NETWORKS: dict[str, dict[str, Any]] = {
    "improved imagenet64_cond_270M_250K.pt": {
        "ours": {
            **SMALL,
            "resolution": 64,
            "channel_mult": (1, 2, 3, 4),
            "num_res_blocks": 3,
            "attention_resolutions": (16, 8),
            "num_heads": 4,
        },
        "theirs": {
            "model_channels": 192,
            "num_res_blocks": 3,
            "attention_resolutions": (4, 8),
            "channel_mult": (1, 2, 3, 4),
            "num_heads": 4,
        },
        "class": "UNetModel",
        "new_order": False,
    },
    "improved upsample_cond_500K.pt": {
        "ours": {
            **SMALL,
            "resolution": 256,
            "channel_mult": (1, 1, 2, 2, 4, 4),
            "num_res_blocks": 2,
            "attention_resolutions": (16, 8),
            "num_heads": 4,
            "low_res": True,
        },
        "theirs": {
            "model_channels": 192,
            "num_res_blocks": 2,
            "attention_resolutions": (16, 32),
            "channel_mult": (1, 1, 2, 2, 4, 4),
            "num_heads": 4,
        },
        "class": "SuperResModel",
        "new_order": False,
    },
    "guided 64x64_diffusion.pt": {
        "ours": {
            **SMALL,
            "resolution": 64,
            "channel_mult": (1, 2, 3, 4),
            "num_res_blocks": 3,
            "attention_resolutions": (32, 16, 8),
            "num_head_channels": 64,
            "resblock_updown": True,
        },
        "theirs": {
            "model_channels": 192,
            "num_res_blocks": 3,
            "attention_resolutions": (2, 4, 8),
            "channel_mult": (1, 2, 3, 4),
            "num_head_channels": 64,
            "resblock_updown": True,
            "use_new_attention_order": True,
        },
        "class": "UNetModel",
        "new_order": True,
    },
    "guided 64_256_upsampler.pt": {
        "ours": {
            **SMALL,
            "resolution": 256,
            "channel_mult": (1, 1, 2, 2, 4, 4),
            "num_res_blocks": 2,
            "attention_resolutions": (32, 16, 8),
            "num_heads": 4,
            "resblock_updown": True,
            "low_res": True,
        },
        "theirs": {
            "model_channels": 192,
            "num_res_blocks": 2,
            "attention_resolutions": (8, 16, 32),
            "channel_mult": (1, 1, 2, 2, 4, 4),
            "num_heads": 4,
            "resblock_updown": True,
        },
        "class": "SuperResModel",
        "new_order": False,
    },
}


def stub_mpi() -> None:
    """Their packages import mpi4py and blobfile on the way to modules that need neither."""
    import types

    for name in ("mpi4py", "mpi4py.MPI", "blobfile"):
        sys.modules.setdefault(name, types.ModuleType(name))


def compare_network(title: str, package: str) -> float:
    """Largest difference of outputs, with every parameter random."""
    entry = NETWORKS[title]
    unet = importlib.import_module(f"{package}.unet")
    torch.manual_seed(0)
    arguments = {"out_channels": 6, "num_classes": 1000, "use_scale_shift_norm": True, **entry["theirs"]}
    sized = {"image_size": entry["ours"]["resolution"]} if package == "guided_diffusion" else {}
    theirs = getattr(unet, entry["class"])(in_channels=3, **sized, **arguments).eval()
    for parameter in theirs.parameters():  # zero-initialized layers would hide mistakes
        parameter.data = parameter.data + 0.02 * torch.randn_like(parameter)
    ours = UNet(**entry["ours"]).eval()
    ours.load_state_dict(convert_openai(theirs.state_dict(), ours, entry["new_order"]))
    side, low = entry["ours"]["resolution"], entry["ours"].get("low_res", False)
    side = min(side, 128)  # fully convolutional; smaller saves minutes
    x, t, y = torch.randn(2, 3, side, side), torch.tensor([3.0, 900.0]), torch.tensor([1, 7])
    small = torch.randn(2, 3, side // 4, side // 4) if low else None
    with torch.no_grad():
        a = theirs(x, t, y=y, **({"low_res": small} if low else {}))
        b = ours(x, t, y, small)
    difference = float((a - b).abs().max())
    print(
        f"{title:42} parameters {sum(p.numel() for p in ours.parameters()):>12,}  largest difference "
        f"{difference:.1e} of {float(a.abs().max()):.2f}"
    )
    return difference


def compare_process(package: str) -> float:
    """Largest relative difference of the diffusion's quantities at T = 4000."""
    gd = importlib.import_module(f"{package}.gaussian_diffusion")
    worst = 0.0
    for schedule in ("cosine", "linear"):
        betas = gd.get_named_beta_schedule(schedule, 4000)
        theirs = gd.GaussianDiffusion(
            betas=betas,
            model_mean_type=gd.ModelMeanType.EPSILON,
            model_var_type=gd.ModelVarType.LEARNED_RANGE,
            loss_type=gd.LossType.MSE,
            rescale_timesteps=False,
        )
        ours = DiffusionProcess(make_betas(schedule, 4000))
        torch.manual_seed(0)
        t = torch.tensor([0, 1, 2, 40, 2000, 3998, 3999])
        x = (torch.randint(0, 256, (7, 3, 8, 8)).float() / 127.5) - 1
        noise, output = torch.randn_like(x), torch.cat((torch.randn(7, 3, 8, 8), torch.rand(7, 3, 8, 8) * 2 - 1), 1)
        x_t = theirs.q_sample(x, t, noise=noise)
        eps, v = output.chunk(2, 1)
        predicted = theirs.p_mean_variance(lambda *a, **k: output, x_t, t, clip_denoised=False)
        parts = theirs.training_losses(lambda *a, **k: output, x, t, noise=noise)
        total, simple, term = hybrid_loss(ours, output, x, x_t, t, noise, vlb_weight=1e-3)
        x_start = ours.x_start_from_eps(x_t, t, eps)
        true_mean, _, true_log_variance = theirs.q_posterior_mean_variance(x, x_t, t)
        pairs = {
            "betas": (ours.betas, torch.from_numpy(betas)),
            "alphas_cumprod": (ours.alphas_cumprod, torch.from_numpy(theirs.alphas_cumprod)),
            "q_sample": (ours.q_sample(x, t, noise), x_t),
            "x_start from eps": (x_start, predicted["pred_xstart"]),
            "posterior mean": (ours.posterior_mean(x, x_t, t), true_mean),
            "posterior log variance": (ours.table("posterior_log_variance", t), true_log_variance[:, :1, :1, :1]),
            "model mean": (ours.posterior_mean(x_start, x_t, t), predicted["mean"]),
            "learned log variance": (ours.learned_log_variance(v, t), predicted["log_variance"]),
            "L_simple": (simple, parts["mse"]),
            # Their MSE loss with learned variances scales the bound's term by T / 1000.
            "L_vlb term": (term * 4.0, parts["vb"]),
            "L_hybrid": (total, parts["mse"] + parts["vb"]),
        }
        for name, (a, b) in pairs.items():
            error = float(((a.double() - b.double()).abs() / (1 + b.double().abs())).max())
            worst = max(worst, error)
            print(f"{package} {schedule:7} {name:24} {error:.1e}")
    return worst


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--improved", type=Path, help="checkout of https://github.com/openai/improved-diffusion")
    parser.add_argument("--guided", type=Path, help="checkout of https://github.com/openai/guided-diffusion")
    arguments = parser.parse_args()
    if arguments.improved is None and arguments.guided is None:
        parser.error("give --improved, --guided or both")
    stub_mpi()
    worst = 0.0
    for name, checkout in (("improved", arguments.improved), ("guided", arguments.guided)):
        if checkout is None:
            continue
        package = f"{name}_diffusion"
        if not (checkout / package).is_dir():
            parser.error(f"{checkout} holds no folder {package}")
        sys.path.insert(0, str(checkout))
        worst = max(worst, compare_process(package) * 10)  # to 1e-5
        for title in NETWORKS:
            if title.startswith(name):
                worst = max(worst, compare_network(title, package))
    print("agree" if worst < 1e-4 else "DIFFER")
    return int(worst >= 1e-4)


if __name__ == "__main__":
    sys.exit(main())
