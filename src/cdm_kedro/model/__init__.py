"""The network: U-Net, its exponential moving average, converters, counting. Knows torch only."""
