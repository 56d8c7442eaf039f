"""Published numbers of the paper's ablations: FID against train, against validation, and Inception score."""

from __future__ import annotations

TABLE_2A: dict[str, tuple[float, float, float]] = {
    "base": (2.44, 2.91, 49.81),
    "more sampling steps": (2.35, 2.91, 52.72),
}
"""Non-cascaded 64x64 model; with samples noised to step 2000 and sampled again from there."""

TABLE_2B: dict[int, tuple[float, float, float]] = {
    0: (6.02, 5.84, 35.59),
    101: (3.41, 3.67, 44.72),
    1001: (2.13, 2.79, 54.47),
}
"""16x16 to 64x64 by s, non-truncated."""

TABLE_3: dict[str, dict[int, tuple[float, float, float]]] = {
    "none": {0: (1.71, 2.46, 61.34)},
    "truncated": {
        251: (1.50, 2.44, 66.76),
        501: (1.48, 2.48, 67.95),
        751: (1.48, 2.51, 68.48),
        1001: (1.49, 2.51, 67.95),
        1251: (1.51, 2.54, 67.20),
        1501: (1.54, 2.56, 67.09),
    },
    "non_truncated": {
        251: (1.58, 2.50, 66.21),
        501: (1.53, 2.51, 67.59),
        751: (1.48, 2.47, 67.48),
        1001: (1.49, 2.48, 66.51),
        1251: (1.48, 2.46, 66.28),
        1501: (1.50, 2.47, 65.59),
    },
    "train": {
        0: (0.76, 1.76, 74.84),
        251: (0.87, 1.85, 71.79),
        501: (0.92, 1.91, 70.68),
        751: (0.95, 1.94, 69.93),
        1001: (0.98, 1.97, 69.03),
        1251: (1.03, 1.99, 67.92),
        1501: (1.11, 2.04, 66.7),
    },
    "val": {
        0: (1.20, 0.59, 64.33),
        251: (1.27, 0.96, 63.17),
        501: (1.32, 1.17, 62.65),
        751: (1.38, 1.32, 62.21),
        1001: (1.42, 1.44, 61.53),
        1251: (1.47, 1.54, 60.58),
        1501: (1.53, 1.64, 60.02),
    },
}
"""32x32 to 64x64 by conditioning (generated: Table 3a; real images of a split: Table 3b) and s."""
