"""Parameters of one model of the cascade: network, diffusion process, conditioning augmentation, training."""

from operator import not_
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import Devices, Params

Precision = Literal["fp32", "bf16"]


class UNetParams(Params):
    """The U-Net, in the paper's terms (Appendix B)."""

    channels: int = Field(ge=8, description="base channel count")
    channel_mult: tuple[int, ...] = Field(min_length=1, description="channel multipliers per resolution, high to low")
    num_res_blocks: int = Field(ge=1, description="residual blocks per resolution")
    attention_resolutions: tuple[int, ...] = Field((), description="feature-map sides, in pixels, with attention")
    num_heads: int = Field(1, ge=1)
    num_head_channels: int | None = Field(None, ge=1, description="channels of one head (ADM) instead of num_heads")
    middle_attention: bool = Field(True, description="self-attention at the bottom of the U; off suits crops")
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    class_cond: bool = True
    scale_shift_norm: bool = Field(True, description="inject embeddings as FiLM scale and shift after GroupNorm")
    resblock_updown: bool | Literal["biggan"] = Field(
        False, description="residual blocks that resample (ADM), not plain layers; biggan: with a learned shortcut"
    )
    skip_scaling: bool = Field(False, exclude_if=not_, description="divide a residual layer's sum by sqrt(2) (SR3)")
    low_res_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    detail_std: float | None = Field(
        None,
        gt=0,
        description="start from the best linear estimate, for images that differ from their upsampled input (of a base "
        "model: from 0) by this much (-1..1 units); null = plain eps prediction (the paper)",
    )
    checkpointing: bool | Literal["auto"] = Field(
        "auto", description="recompute activations in the backward pass; auto = on a GPU too small for a step without"
    )

    @model_validator(mode="after")
    def _channels_divide(self) -> "UNetParams":
        for mult in self.channel_mult:
            if mult < 1:
                raise ValueError(f"channel_mult holds {mult}; every multiplier must be at least 1")
            name = "num_heads" if self.num_head_channels is None else "num_head_channels"
            divisor = self.num_head_channels or self.num_heads
            if self.attention_resolutions and (self.channels * mult) % divisor:
                raise ValueError(
                    f"{name} {divisor} does not divide {self.channels * mult} channels "
                    f"(channels {self.channels} x multiplier {mult}); choose heads that divide every level"
                )
        return self


class DiffusionParams(Params):
    """The forward process and what the network predicts (section 2.1, Appendix B)."""

    timesteps: int = Field(ge=2, description="T, the number of forward steps")
    schedule: Literal["cosine", "linear"]
    beta_start: float = Field(1e-4, gt=0, lt=1, description="first beta of the linear schedule at 1000 steps")
    beta_end: float = Field(0.02, gt=0, lt=1, description="last beta of the linear schedule at 1000 steps")
    learned_variances: bool = False
    vlb_weight: float = Field(1e-3, ge=0, description="weight of L_vlb in the hybrid loss")
    noise_conditioning: Literal["timestep", "continuous"] = "timestep"
    timestep_scale: float = Field(1.0, gt=0, description="factor on t in its embedding; 1000 / T as in Improved DDPM")

    @model_validator(mode="after")
    def _consistent(self) -> "DiffusionParams":
        if self.beta_start >= self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} must be below beta_end {self.beta_end}")
        _check_linear(self)
        if self.timestep_scale != 1 and self.noise_conditioning == "continuous":
            raise ValueError("timestep_scale is about timesteps; noise_conditioning: continuous embeds noise levels")
        if self.learned_variances and self.noise_conditioning == "continuous":
            raise ValueError(
                "learned_variances needs noise_conditioning: timestep; a continuous noise level has no discrete "
                "neighbours to interpolate the variance between (Appendix B uses fixed variances there)"
            )
        return self


def _check_linear(process: "DiffusionParams | GaussianAugmentation") -> None:
    last = process.beta_end * 1000 / process.timesteps
    if process.schedule == "linear" and last >= 1:
        raise ValueError(
            f"timesteps {process.timesteps} are too few for a linear schedule: beta_end {process.beta_end} is stated "
            f"for 1000 steps and becomes {last:.3g}, not below 1; take more steps or a smaller beta_end"
        )


class NoAugmentation(Params):
    """The network sees the low-resolution input as it is (the paper's s = 0 baseline)."""

    kind: Literal["none"] = "none"


class GaussianAugmentation(Params):
    """The forward process noises the low-resolution input up to step s, which the network is told (section 3.2).

    s counts steps of this forward process: 0 is clean, ``timesteps`` is pure noise.
    """

    kind: Literal["gaussian"] = "gaussian"
    timesteps: int = Field(ge=2, description="T of the low-resolution model's forward process, in which s is counted")
    schedule: Literal["cosine", "linear"] = "cosine"
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    s: int | None = Field(None, ge=0, description="fixed s; null trains one model for all s")
    max_s: int | None = Field(None, ge=1, description="amortized s is uniform on 0..max_s; null means timesteps")

    @model_validator(mode="after")
    def _within(self) -> "GaussianAugmentation":
        for name, value in (("s", self.s), ("max_s", self.max_s)):
            if value is not None and value > self.timesteps:
                raise ValueError(f"{name} {value} exceeds timesteps {self.timesteps}; s counts forward steps, 0..T")
        if self.s is not None and self.max_s is not None:
            raise ValueError("give either a fixed s or max_s for amortized training, not both")
        _check_linear(self)
        return self

    @property
    def s_max(self) -> int:
        """Largest s that the model is trained on."""
        return self.s if self.s is not None else self.max_s if self.max_s is not None else self.timesteps


class BlurAugmentation(Params):
    """Training blurs the low-resolution input by a Gaussian, inference does not (section 3.1)."""

    kind: Literal["blur"] = "blur"
    sigma_min: float = Field(0.4, ge=0, description="in pixels of the low-resolution input")
    sigma_max: float = Field(0.6, gt=0)
    probability: float = Field(0.5, ge=0, le=1)
    kernel_size: int = Field(3, ge=3)

    @model_validator(mode="after")
    def _ordered(self) -> "BlurAugmentation":
        if self.sigma_min > self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} exceeds sigma_max {self.sigma_max}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} must be odd")
        return self


AugmentationParams = Annotated[NoAugmentation | GaussianAugmentation | BlurAugmentation, Field(discriminator="kind")]


class SelectionParams(Params):
    """How training keeps the average whose samples are nearest to real images, by Fréchet distance."""

    every: int = Field(ge=1, description="steps between scores; the last step is scored too")
    split: Literal["train", "val"] = Field(  # weights carry these parameters; a default must not change them
        "train", exclude_if="train".__eq__, description="images that samples are compared with; val's are held out"
    )
    num_samples: int = Field(10_000, ge=2, description="samples a score (the paper: 10k)")
    batch_size: int = Field(64, ge=1, description="images per forward pass")
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    steps: int | None = Field(None, ge=1, description="reverse steps; null = all training timesteps")
    variance: Literal["small", "large"] = Field("small", exclude_if="small".__eq__, description="as in sampling")
    s: int = Field(0, ge=0, description="conditioning augmentation of the training images that condition the samples")
    extractor: Literal["efficientnet_lite0", "inception2015"] = "efficientnet_lite0"
    weights: str | None = Field(None, description="weights file of inception2015")
    input_side: int = Field(224, ge=32, le=512, description="pixels efficientnet_lite0 sees")
    reference_images: int | None = Field(50_000, ge=2, description="training images compared with; null = all")
    patience: int | None = Field(None, ge=1, description="stop after so many scores without a better one; null = never")


class TrainingParams(Params):
    """How a model is optimized (Appendix B), and how often its run logs, saves and scores."""

    steps: int = Field(ge=1, description="optimizer steps")
    batch_size: int = Field(ge=1, description="images per optimizer step over all devices")
    microbatch: int | None = Field(None, ge=1, description="images per forward pass and device; null = no accumulation")
    optimizer: Literal["adam", "muon"] = Field("adam", exclude_if="adam".__eq__, description="muon: for small budgets")
    lr: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(0, ge=0)
    grad_clip: float | None = Field(None, gt=0, description="global norm; null = no clipping (the paper)")
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    weighted_loss: bool = Field(
        True, exclude_if=bool, description="weigh every noise level alike, with unet.detail_std; off = as in the paper"
    )
    random_flip: bool = True
    geometry: float = Field(
        0.0, ge=0, le=0.5, exclude_if=not_, description="of half the images: std of shift (sides), turn (rad), log zoom"
    )
    crop: int | None = Field(None, ge=8, description="random crops of this side for super-resolution (Imagen)")
    class_dropout: float = Field(0.0, ge=0, lt=1, description="for classifier-free guidance; the paper uses none")
    precision: Precision = "bf16"
    compile: bool | None = Field(None, description="torch.compile; null = on CUDA only")
    devices: Devices = "auto"
    seed: int = Field(0, ge=0)
    log_every: int = Field(50, ge=1, description="steps between logged metrics")
    checkpoint_seconds: float = Field(300.0, gt=0, description="seconds between resume checkpoints")
    checkpoint_steps: int | None = Field(None, ge=1, description="steps between resume checkpoints, besides the time")
    selection: SelectionParams | None = Field(None, description="null = the last average is the model")
    max_nonfinite: int = Field(20, ge=1, description="skipped non-finite steps in a row before the run stops")

    @model_validator(mode="after")
    def _divides(self) -> "TrainingParams":
        if self.microbatch is not None and self.batch_size % self.microbatch:
            raise ValueError(f"microbatch {self.microbatch} does not divide batch_size {self.batch_size}")
        return self


class ModelParams(Params):
    """What a model is; ``low`` names the model whose samples condition it, and null makes it a base model."""

    resolution: int = Field(ge=4, description="side of the images it models, in pixels")
    low: str | None = None
    low_resolution: int | None = Field(None, ge=2)
    unet: UNetParams
    diffusion: DiffusionParams
    augmentation: AugmentationParams = NoAugmentation()

    @property
    def class_dropout(self) -> float:
        """Share of training examples without their class; above 0 the model knows "no class"."""
        return self.training.class_dropout if isinstance(self, TrainedModelParams) else 0.0

    @property
    def told_geometry(self) -> bool:
        """Whether the network takes how an image was moved, turned and zoomed."""
        return isinstance(self, TrainedModelParams) and self.training.geometry > 0

    @model_validator(mode="after")
    def _fits(self) -> "ModelParams":
        levels = len(self.unet.channel_mult)
        factor = 2 ** (levels - 1)
        if self.resolution % factor:
            raise ValueError(
                f"resolution {self.resolution} is not divisible by {factor}: {levels} channel multipliers halve the "
                f"feature map {levels - 1} times"
            )
        sides = {self.resolution // 2**i for i in range(levels)}
        unknown = sorted(set(self.unet.attention_resolutions) - sides)
        if unknown:
            raise ValueError(
                f"attention_resolutions {unknown} never occur; this U-Net's feature maps are {sorted(sides)} px wide"
            )
        if (self.low is None) != (self.low_resolution is None):
            raise ValueError("low and low_resolution go together: give both for super-resolution, neither for a base")
        if self.low_resolution is not None:
            if self.low_resolution >= self.resolution:
                raise ValueError(f"low_resolution {self.low_resolution} must be below resolution {self.resolution}")
            if self.resolution % self.low_resolution:
                raise ValueError(f"low_resolution {self.low_resolution} does not divide resolution {self.resolution}")
        elif (kind := self.augmentation.kind) != "none":
            raise ValueError(f"augmentation {kind} needs a low-resolution input; this is a base model")
        return self


class TrainedModelParams(ModelParams):
    """One model of the cascade that is trained here."""

    training: TrainingParams

    @model_validator(mode="after")
    def _crop_fits(self) -> "TrainedModelParams":
        crop = self.training.crop
        if crop is None:
            return self
        if self.low_resolution is None:
            raise ValueError(f"training.crop {crop} is for super-resolution; a base model learns layout")
        ratio, factor = self.resolution // self.low_resolution, 2 ** (len(self.unet.channel_mult) - 1)
        if crop > self.resolution or crop % ratio or crop % factor:
            raise ValueError(
                f"training.crop {crop} must be at most resolution {self.resolution} and divisible by {ratio} (the "
                f"enlargement) and {factor} (the U-Net's downsampling)"
            )
        return self


class PublishedWeights(Params):
    """Where a model's weights come from when it is not trained here; the catalog's ``<model>_pretrained`` is the file.

    ``openai`` reads the state dicts of openai/improved-diffusion and openai/guided-diffusion.
    """

    kind: Literal["openai"]
    new_attention_order: bool = Field(False, description="guided-diffusion's flag use_new_attention_order")
    num_classes: int = Field(1000, ge=1, description="classes that the published model knows")


class PretrainedModelParams(ModelParams):
    """One model of the cascade whose published weights are converted instead of trained."""

    pretrained: PublishedWeights


def parse_model(raw: dict[str, Any]) -> TrainedModelParams | PretrainedModelParams:
    """Parameters of a model, trained or pretrained, from plain values.

    Raises pydantic.ValidationError if the values are not such parameters.
    """
    return (PretrainedModelParams if "pretrained" in raw else TrainedModelParams).model_validate(raw)
