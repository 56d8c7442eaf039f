"""The network: U-Net, its exponential moving average, converters, counting. Knows torch only."""

from cdm_kedro.model.ema import EMA
from cdm_kedro.model.unet import UNet

__all__ = ["EMA", "UNet"]
