"""The numbers that the paper publishes (Ho et al. 2021), by the number of their table, to print beside ours."""

from typing import NamedTuple


class Published(NamedTuple):
    """One row of a table: FID against training and against validation images, and the Inception score."""

    fid_train: float
    fid_val: float
    inception_score: float


TABLE_1A = {
    32: Published(1.11, 1.99, 26.01),
    64: Published(1.48, 2.48, 67.95),
    128: Published(3.52, 3.76, 128.80),
    256: Published(4.88, 4.63, 158.71),
}
"""The cascade on ImageNet by resolution, from 50 000 samples."""

TABLE_1B: dict[int, dict[str, tuple[float, float]]] = {
    128: {"real": (68.82, 88.79), "generated": (59.84, 81.79)},
    256: {"real": (73.09, 91.47), "generated": (63.02, 84.06)},
}
"""Classification accuracy score by resolution: top-1 and top-5 accuracy in percent of classifiers trained on real and
on generated images."""

TABLE_2A = {
    "base": Published(2.44, 2.91, 49.81),
    "more sampling steps": Published(2.35, 2.91, 52.72),
}
"""One 64x64 model without a cascade; in the second row its samples are noised to step 2000 and sampled from there."""

TABLE_2B = {
    0: Published(6.02, 5.84, 35.59),
    101: Published(3.41, 3.67, 44.72),
    1001: Published(2.13, 2.79, 54.47),
}
"""16x16 to 64x64 by s, with non-truncated augmentation and one model for each s."""

TABLE_3 = {
    "none": {0: Published(1.71, 2.46, 61.34)},
    "truncated": {
        251: Published(1.50, 2.44, 66.76),
        501: Published(1.48, 2.48, 67.95),
        751: Published(1.48, 2.51, 68.48),
        1001: Published(1.49, 2.51, 67.95),
        1251: Published(1.51, 2.54, 67.20),
        1501: Published(1.54, 2.56, 67.09),
    },
    "non_truncated": {
        251: Published(1.58, 2.50, 66.21),
        501: Published(1.53, 2.51, 67.59),
        751: Published(1.48, 2.47, 67.48),
        1001: Published(1.49, 2.48, 66.51),
        1251: Published(1.48, 2.46, 66.28),
        1501: Published(1.50, 2.47, 65.59),
    },
    "train": {
        0: Published(0.76, 1.76, 74.84),
        251: Published(0.87, 1.85, 71.79),
        501: Published(0.92, 1.91, 70.68),
        751: Published(0.95, 1.94, 69.93),
        1001: Published(0.98, 1.97, 69.03),
        1251: Published(1.03, 1.99, 67.92),
        1501: Published(1.11, 2.04, 66.7),
    },
    "val": {
        0: Published(1.20, 0.59, 64.33),
        251: Published(1.27, 0.96, 63.17),
        501: Published(1.32, 1.17, 62.65),
        751: Published(1.38, 1.32, 62.21),
        1001: Published(1.42, 1.44, 61.53),
        1251: Published(1.47, 1.54, 60.58),
        1501: Published(1.53, 1.64, 60.02),
    },
}
"""32x32 to 64x64 by conditioning and s: on generated images (Table 3a) and on real ones of a split (Table 3b)."""
