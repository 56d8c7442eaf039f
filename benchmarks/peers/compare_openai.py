"""Our networks, diffusion, losses and samplers against checkouts of OpenAI's.

python benchmarks/peers/compare_openai.py --improved PATH --guided PATH   (either or both)

Builds each published network with their own factory from its published flags, and ours from conf/adm and conf/iddpm;
gives theirs random weights, converts them and compares outputs in float32 (to 1e-4). Compares schedules, q_sample,
posteriors, learned variances, losses and the bound's terms at T = 4000, and the choice of respaced timesteps (to 1e-5).
Runs whole respaced trajectories, ancestral and DDIM, of a tiny network through their sampler and ours with the same
noise (to 1e-4).
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from cdm_kedro.diffusion.likelihood import prior_bits, term_bits
from cdm_kedro.diffusion.losses import discretized_gaussian_log_likelihood, hybrid_loss
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule, ancestral, ddim
from cdm_kedro.diffusion.schedules import make_betas
from cdm_kedro.model.build import build_process, build_unet
from cdm_kedro.model.openai import convert_openai
from cdm_kedro.params.model import ModelParams, PretrainedModelParams

ROOT = Path(__file__).resolve().parents[2]
# Of Improved DDPM's unconditional model, whose code scales timesteps to 1000.
UNCONDITIONAL = {
    "resolution": 64,
    "unet": {
        "channels": 128,
        "channel_mult": [1, 2, 3, 4],
        "num_res_blocks": 3,
        "attention_resolutions": [16, 8],
        "num_heads": 4,
        "class_cond": False,
    },
    "diffusion": {"timesteps": 4000, "schedule": "cosine", "learned_variances": True, "timestep_scale": 0.25},
    "pretrained": {"kind": "openai"},
}
# File: package, our environment and stage (or parameters), and the flags that its README publishes.
PUBLISHED: dict[str, tuple[str, tuple[str, str] | dict[str, Any], str]] = {
    "64x64_diffusion.pt": (
        "guided_diffusion",
        ("adm", "base64"),
        "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --dropout 0.1 --image_size 64 "
        "--learn_sigma True --noise_schedule cosine --num_channels 192 --num_head_channels 64 --num_res_blocks 3 "
        "--resblock_updown True --use_new_attention_order True --use_fp16 True --use_scale_shift_norm True",
    ),
    "64_256_upsampler.pt": (
        "guided_diffusion",
        ("adm", "sr256"),
        "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --large_size 256 --small_size 64 "
        "--learn_sigma True --noise_schedule linear --num_channels 192 --num_heads 4 --num_res_blocks 2 "
        "--resblock_updown True --use_fp16 True --use_scale_shift_norm True",
    ),
    "imagenet64_cond_270M_250K.pt": (
        "improved_diffusion",
        ("iddpm", "base64"),
        "--image_size 64 --num_channels 192 --num_res_blocks 3 --learn_sigma True --class_cond True "
        "--diffusion_steps 4000 --noise_schedule cosine --rescale_learned_sigmas False --rescale_timesteps False",
    ),
    "upsample_cond_500K.pt": (
        "improved_diffusion",
        ("iddpm", "sr256"),
        "--num_channels 192 --num_res_blocks 2 --learn_sigma True --class_cond True "
        "--diffusion_steps 4000 --noise_schedule linear --rescale_learned_sigmas False --rescale_timesteps False",
    ),
    "imagenet64_uncond_100M_1500K.pt": (
        "improved_diffusion",
        UNCONDITIONAL,
        "--image_size 64 --num_channels 128 --num_res_blocks 3 --learn_sigma True "
        "--diffusion_steps 4000 --noise_schedule cosine",
    ),
}


class Report:
    """Prints each comparison and remembers whether all held."""

    def __init__(self) -> None:
        self.agree, self.rows = True, []

    def add(self, what: str, difference: float, limit: float, note: str = "") -> None:
        """One comparison; ``limit`` is what the difference must stay under."""
        holds = difference < limit
        self.agree &= holds
        self.rows.append({"what": what, "difference": difference, "limit": limit, "holds": holds})
        print(f"{'ok    ' if holds else 'DIFFER'} {what:62} {difference:8.1e} < {limit:.0e}  {note}", flush=True)


def stub_imports() -> None:
    """Their packages import mpi4py and blobfile on the way to modules that need neither."""
    for name in ("mpi4py", "mpi4py.MPI", "blobfile"):
        sys.modules.setdefault(name, types.ModuleType(name))


def published(name: str) -> tuple[Any, Any, dict[str, Any], PretrainedModelParams]:
    """Their network on the meta device and their diffusion, built by their factory; the flags; our parameters."""
    package, ours, text = PUBLISHED[name]
    factory = importlib.import_module(f"{package}.script_util")
    words = text.split()
    parser = argparse.ArgumentParser()
    upsampler = "upsample" in name
    defaults = factory.sr_model_and_diffusion_defaults() if upsampler else factory.model_and_diffusion_defaults()
    # A flag that is published but unknown to the factory would end here.
    factory.add_dict_to_argparser(parser, defaults)
    flags = {**vars(parser.parse_args(words)), "use_fp16": False}
    flags = {key: value for key, value in flags.items() if key in defaults}
    create = factory.sr_create_model_and_diffusion if upsampler else factory.create_model_and_diffusion
    with torch.device("meta"):
        net, diffusion = create(**flags)
    if isinstance(ours, dict):
        return net, diffusion, flags, PretrainedModelParams.model_validate(ours)
    env, stage = ours
    raw = yaml.safe_load((ROOT / f"conf/{env}/parameters_{stage}.yml").read_text(encoding="utf-8"))[stage]
    return net, diffusion, flags, PretrainedModelParams.model_validate(raw)


def randomize(net: torch.nn.Module) -> torch.nn.Module:
    """Real tensors with random values of the size that initialization gives; none zero, which would hide mistakes."""
    net = net.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (1 / parameter[0].numel()) ** 0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def compare_network(name: str, report: Report) -> None:
    """Outputs of one published network, and its diffusion process."""
    theirs, diffusion, flags, params = published(name)
    theirs = randomize(theirs)
    ours = build_unet(params, 1000)
    ours.load_state_dict(convert_openai(theirs.state_dict(), ours, params.pretrained.new_attention_order))
    ours.eval()
    side = min(params.resolution, 128)  # fully convolutional; smaller saves minutes
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 3, side, side, generator=generator), torch.tensor([1, 977])
    t = torch.tensor([3, params.diffusion.timesteps - 1])
    low = torch.randn(2, 3, side // 4, side // 4, generator=generator) if params.low else None
    wrapped = diffusion._wrap_model(theirs)  # scales the timestep as they do
    with torch.no_grad():
        known = {"y": y if params.unet.class_cond else None, "low_res": low}
        a = wrapped(x, t, **{key: value for key, value in known.items() if value is not None})
        b = ours(x, t.float(), known["y"], low)
    count = sum(p.numel() for p in ours.parameters())
    report.add(f"{name}: output", float((a - b).abs().max()), 1e-4, f"of {float(a.abs().max()):.1f}; {count:,} weights")
    process = build_process(params.diffusion)
    report.add(f"{name}: betas", float((process.betas - torch.from_numpy(diffusion.betas)).abs().max()), 1e-12)
    learned = diffusion.model_var_type.name == "LEARNED_RANGE"
    report.add(f"{name}: learned variances", float(learned != params.diffusion.learned_variances), 0.5)
    dropout = flags["dropout"]
    report.add(f"{name}: dropout", abs(dropout - params.unet.dropout), 1e-12)


@contextmanager
def exact_cdf(package: str) -> Iterator[None]:
    """Their tanh approximation of the normal CDF replaced by the CDF."""
    losses = importlib.import_module(f"{package}.losses")
    approximation = losses.approx_standard_normal_cdf
    losses.approx_standard_normal_cdf = torch.special.ndtr
    try:
        yield
    finally:
        losses.approx_standard_normal_cdf = approximation


def relative(a: Tensor, b: Tensor) -> float:
    """Largest |a - b| / (1 + |b|)."""
    return float(((a.double() - b.double()).abs() / (1 + b.double().abs())).max())


def compare_process(package: str, schedule: str, report: Report) -> None:
    """Every quantity of the diffusion at T = 4000, both ends included."""
    gd = importlib.import_module(f"{package}.gaussian_diffusion")
    title = f"{package} {schedule} T=4000: "
    betas = gd.get_named_beta_schedule(schedule, 4000)
    settings = {
        "betas": betas,
        "model_mean_type": gd.ModelMeanType.EPSILON,
        "loss_type": gd.LossType.RESCALED_MSE,
        "rescale_timesteps": False,
    }
    theirs = gd.GaussianDiffusion(model_var_type=gd.ModelVarType.LEARNED_RANGE, **settings)
    ours = DiffusionProcess(make_betas(schedule, 4000))
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([0, 1, 2, 40, 2000, 3998, 3999])
    x = torch.randint(0, 256, (7, 3, 8, 8), generator=generator).float() / 127.5 - 1
    noise = torch.randn(x.shape, generator=generator)
    # A plausible prediction: at t = 0 a wild one puts pixels where their 1e-12 floor on probabilities acts.
    eps = noise + 0.3 * torch.randn(x.shape, generator=generator)
    v = torch.rand(x.shape, generator=generator) * 2 - 1
    output = torch.cat((eps, v), 1)

    def model(*_: Any, **__: Any) -> Tensor:
        return output

    x_t = theirs.q_sample(x, t, noise=noise)
    predicted = theirs.p_mean_variance(model, x_t, t, clip_denoised=False)
    approximate = theirs.training_losses(model, x, t, noise=noise)
    with exact_cdf(package):
        parts = theirs.training_losses(model, x, t, noise=noise)
        bound = theirs._vb_terms_bpd(model, x, x_t, t, clip_denoised=True)["output"]
        fixed = gd.GaussianDiffusion(model_var_type=gd.ModelVarType.FIXED_SMALL, **settings)
        fixed_bound = fixed._vb_terms_bpd(lambda *_, **__: eps, x, x_t, t, clip_denoised=True)["output"]
    total, simple, term = hybrid_loss(ours, output, x, x_t, t, noise, vlb_weight=1e-3)
    x_start = ours.x_start_from_eps(x_t, t, eps)
    true_mean, _, true_log_variance = theirs.q_posterior_mean_variance(x, x_t, t)
    pairs: dict[str, tuple[Tensor, Tensor]] = {
        "betas": (ours.betas, torch.from_numpy(betas)),
        "alphas_cumprod": (ours.alphas_cumprod, torch.from_numpy(theirs.alphas_cumprod)),
        "posterior variance": (ours.posterior_variance, torch.from_numpy(theirs.posterior_variance)),
        "q_sample": (ours.q_sample(x, t, noise), x_t),
        "x_start from eps": (x_start, predicted["pred_xstart"]),
        "posterior mean": (ours.posterior_mean(x, x_t, t), true_mean),
        "posterior log variance": (ours.table("posterior_log_variance", t), true_log_variance[:, :1, :1, :1]),
        "model mean": (ours.posterior_mean(x_start, x_t, t), predicted["mean"]),
        "learned log variance": (ours.learned_log_variance(v, t), predicted["log_variance"]),
        "L_simple": (simple, parts["mse"]),
        "L_vlb term x T/1000": (term * 4.0, parts["vb"]),  # their rescaled loss: lambda T = 0.001 T
        "L_hybrid": (total, parts["loss"]),
        "bound's term, learned variances": (term_bits(model, ours, x, t, noise), bound),
        "bound's term, fixed variances": (term_bits(lambda *_: eps, ours, x, t, noise), fixed_bound),
        "bound's prior": (prior_bits(ours, x), theirs._prior_bpd(x)),
    }
    for name, (a, b) in pairs.items():
        report.add(title + name, relative(a, b), 1e-5)
    off = relative(term * 4.0, approximate["vb"])
    print(f"       {title}their tanh CDF moves the decoder's term by {off:.1e}; ours is exact")


def compare_decoder(package: str, report: Report) -> None:
    """The decoder's likelihood in float64, exact CDF on both sides, where their floor of 1e-12 does not act."""
    losses = importlib.import_module(f"{package}.losses")
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (4000,), generator=generator).double() / 127.5 - 1
    log_std = torch.rand(4000, generator=generator, dtype=torch.float64) * 5 - 5
    mean = x + torch.randn(4000, generator=generator, dtype=torch.float64) * log_std.exp()
    with exact_cdf(package):
        theirs = losses.discretized_gaussian_log_likelihood(x, means=mean, log_scales=log_std)
    report.add(
        f"{package}: decoder log likelihood",
        relative(discretized_gaussian_log_likelihood(x, mean, log_std), theirs),
        1e-5,
    )


def compare_timesteps(package: str, report: Report) -> None:
    """Which indices a respaced process visits; where the even spacing ends in .5 they round either way, we to even."""
    respace = importlib.import_module(f"{package}.respace")
    wrong = ties = 0
    for total in (1000, 2000, 4000):
        process = DiffusionProcess(make_betas("linear", total))
        for steps in (2, 3, 10, 25, 27, 50, 100, 250, 256, 500, 999, 1000):
            theirs = sorted(respace.space_timesteps(total, str(steps)))
            ours = sorted(ReverseSchedule.respaced(process, steps).timesteps)
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                tie = 2 * i * (total - 1) % (2 * (steps - 1)) == steps - 1
                wrong += a != b and not tie
                ties += a != b and tie
    report.add(f"{package}: timesteps of 36 respaced schedules that differ", wrong, 0.5, f"beside {ties} ties")


def compare_trajectory(package: str, report: Report) -> None:
    """Whole respaced reverse processes of a tiny super-resolution network, theirs and ours, with the same noise."""
    unet, gd = importlib.import_module(f"{package}.unet"), importlib.import_module(f"{package}.gaussian_diffusion")
    respace = importlib.import_module(f"{package}.respace")
    structure = {"num_res_blocks": 1, "channel_mult": (1, 2), "num_heads": 2}
    sized = {"image_size": 16} if package == "guided_diffusion" else {}
    net = unet.SuperResModel(
        in_channels=3, model_channels=128, out_channels=6, attention_resolutions=(2,), num_classes=10,
        use_scale_shift_norm=True, **structure, **sized,
    )  # fmt: skip
    net = randomize(net)
    with torch.no_grad():
        net.out[2].weight.mul_(0.3)  # eps near 1, and v in its range
    params = ModelParams.model_validate(
        {
            "resolution": 16,
            "low": "base",
            "low_resolution": 4,
            "unet": {"channels": 128, "attention_resolutions": (8,), **structure},
            "diffusion": {"timesteps": 1000, "schedule": "cosine", "learned_variances": True},
        }
    )
    ours = build_unet(params, 10).eval()
    ours.load_state_dict(convert_openai(net.state_dict(), ours))
    generator = torch.Generator().manual_seed(2)
    y, low = torch.tensor([9]), torch.rand(1, 3, 4, 4, generator=generator) * 2 - 1
    start = torch.randn(1, 3, 16, 16, generator=generator)

    def model(x: Tensor, cond: Tensor) -> Tensor:
        return ours(x, cond, y, low)

    full = (("cosine", 1000, 250, None), ("linear", 1000, 250, None))
    for schedule, total, steps, eta in (*full, ("cosine", 4000, 50, 0.0), ("linear", 1000, 50, 1.0)):
        diffusion = respace.SpacedDiffusion(
            use_timesteps=respace.space_timesteps(total, str(steps)),
            betas=gd.get_named_beta_schedule(schedule, total),
            model_mean_type=gd.ModelMeanType.EPSILON,
            model_var_type=gd.ModelVarType.LEARNED_RANGE,
            loss_type=gd.LossType.MSE,
            rescale_timesteps=False,
        )
        reverse = ReverseSchedule.respaced(DiffusionProcess(make_betas(schedule, total)), steps)
        draws = torch.randn(steps, *start.shape, generator=torch.Generator().manual_seed(3))
        given, kept = iter(draws), gd.th.randn_like
        gd.th.randn_like = lambda _, given=given: next(given)
        loop = diffusion.p_sample_loop if eta is None else partial(diffusion.ddim_sample_loop, eta=eta)
        try:
            a = loop(net, start.shape, noise=start, model_kwargs={"y": y, "low_res": low}, device="cpu")
        finally:
            gd.th.randn_like = kept
        sampler = ancestral if eta is None else partial(ddim, eta=eta)
        b = sampler(model, start, reverse, lambda i, draws=draws: draws[i])
        name = "ancestral" if eta is None else f"DDIM, eta {eta}"
        inside = float((a.abs() < 0.999).float().mean())
        title = f"{package} {schedule} T={total}, {steps} steps: {name}"
        report.add(title, float((a - b).abs().max()), 1e-4, f"{inside:.0%} of the pixels are not clipped")


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--improved", type=Path, help="checkout of https://github.com/openai/improved-diffusion")
    parser.add_argument("--guided", type=Path, help="checkout of https://github.com/openai/guided-diffusion")
    parser.add_argument("--json", type=Path, help="write the comparisons there")
    parser.add_argument("--shapes", type=Path, help="write tests/model/openai_shapes.json.gz anew there")
    arguments = parser.parse_args()
    if arguments.improved is None and arguments.guided is None:
        parser.error("give --improved, --guided or both")
    stub_imports()
    report = Report()
    shapes: dict[str, dict[str, list[int]]] = {}
    for name, checkout in (("improved", arguments.improved), ("guided", arguments.guided)):
        if checkout is None:
            continue
        package = f"{name}_diffusion"
        if not (checkout / package).is_dir():
            parser.error(f"{checkout} holds no folder {package}")
        sys.path.insert(0, str(checkout))
        for schedule in ("cosine", "linear"):
            compare_process(package, schedule, report)
        compare_decoder(package, report)
        compare_timesteps(package, report)
        compare_trajectory(package, report)
        for file, entry in PUBLISHED.items():
            if entry[0] == package:
                compare_network(file, report)
                if isinstance(entry[1], tuple):
                    shapes[file] = {key: list(tensor.shape) for key, tensor in published(file)[0].state_dict().items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(report.rows, indent=1) + "\n", encoding="utf-8")
    if arguments.shapes:
        text = json.dumps(shapes, separators=(",", ":"))
        arguments.shapes.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print("agree" if report.agree else "DIFFER")
    return int(not report.agree)


if __name__ == "__main__":
    sys.exit(main())
