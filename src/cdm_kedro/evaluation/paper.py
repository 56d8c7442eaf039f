"""Published numbers of the paper, to print beside ours."""

from __future__ import annotations

TABLE_1A: dict[int, dict[str, float]] = {
    32: {"fid_train": 1.11, "fid_val": 1.99, "inception_score": 26.01},
    64: {"fid_train": 1.48, "fid_val": 2.48, "inception_score": 67.95},
    128: {"fid_train": 3.52, "fid_val": 3.76, "inception_score": 128.80},
    256: {"fid_train": 4.88, "fid_val": 4.63, "inception_score": 158.71},
}
"""CDM on ImageNet, 50 000 samples, by resolution (Table 1a)."""

TABLE_1B: dict[int, dict[str, tuple[float, float]]] = {
    128: {"real": (68.82, 88.79), "generated": (59.84, 81.79)},
    256: {"real": (73.09, 91.47), "generated": (63.02, 84.06)},
}
"""Classification Accuracy Score, top-1 and top-5 in percent, of classifiers trained on real and on CDM images."""
