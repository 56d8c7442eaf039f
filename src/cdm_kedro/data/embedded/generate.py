"""The images of the embedded data set."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdm_kedro.data.embedded.scene import Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]
from cdm_kedro.data.embedded.drawings import CLASSES

SPLITS = ("train", "val")


def _vary(s: Scene, variety: float) -> None:
    """Another view and another light: turned, nearer, off centre; any hue, duller or brighter."""
    import cv2

    angle, zoom = variety * s.uniform(-30, 30), 1 + variety * s.uniform(0, 0.8)
    view = cv2.getRotationMatrix2D((s.side / 2, s.side / 2), angle, zoom)
    view[:, 2] += variety * s.side * np.array([s.uniform(-0.2, 0.2), s.uniform(-0.2, 0.2)])
    s.rgb = cv2.warpAffine(s.rgb, view, (s.side, s.side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    turn, saturation = variety * s.uniform(-np.pi, np.pi), 1 + variety * s.uniform(-0.6, 0.4)
    gray = s.rgb.mean(axis=2, keepdims=True)
    # Colours turn about the grey axis (Rodrigues), so that brightness stays and only hue moves.
    axis = np.full(3, 1 / np.sqrt(3), np.float32)
    color = s.rgb - gray
    color = color * np.cos(turn) + np.cross(axis, color) * np.sin(turn)
    s.rgb = (
        (gray + saturation * color - 0.5) * (1 + variety * s.uniform(-0.3, 0.2)) + 0.5 + variety * s.uniform(-0.1, 0.1)
    )
    s.rgb = s.rgb.astype(np.float32)


def render(name: str, split: str, index: int, side: int, seed: int, variety: float = 0.0) -> NDArray[np.uint8]:
    """One image.

    Args:
        name: a key of :data:`CLASSES`.
        split: "train" or "val".
        index: number within split and class.
        side: pixels.
        seed: of the data set.
        variety: how much view and light differ between images, 0 .. 1.

    Returns:
        (side, side, 3) uint8.
    """
    key = np.random.SeedSequence([seed, SPLITS.index(split), sorted(CLASSES).index(name), index])
    scene = Scene(side, np.random.Generator(np.random.Philox(key)))
    CLASSES[name](scene)
    if variety:
        _vary(scene, variety)
    scene.rgb *= np.float32(scene.rng.uniform(0.88, 1.08))
    if scene.rng.random() < 0.5:
        scene.rgb = scene.rgb[:, ::-1]
    return (np.clip(scene.rgb, 0, 1) * 255).round().astype(np.uint8)


def _write(job: tuple[str, str, int, int, int, float, int, str]) -> None:
    import cv2
    import simplejpeg

    name, split, index, side, seed, variety, quality, folder = job
    cv2.setNumThreads(1)
    image = np.ascontiguousarray(render(name, split, index, side, seed, variety))
    path = Path(folder, split, name, f"{name}_{index:05d}.jpg")
    path.write_bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="444"))


def generate(
    folder: Path,
    train_per_class: int,
    val_per_class: int,
    side: int,
    jpeg_quality: int,
    seed: int,
    variety: float = 0.0,
) -> Path:
    """Write the whole data set.

    Args:
        folder: made by this call; an older folder of the name is replaced once the new one is complete.
        train_per_class: training images a class.
        val_per_class: validation images a class.
        side: pixels.
        jpeg_quality: 1 .. 100.
        seed: of the data set.
        variety: how much view and light differ between images, 0 .. 1.

    Returns:
        ``folder``, holding ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``.
    """
    from tqdm import tqdm

    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    jobs: list[Any] = []
    for split, count in zip(SPLITS, (train_per_class, val_per_class), strict=True):
        for name in CLASSES:
            (part / split / name).mkdir(parents=True)
            jobs += [(name, split, i, side, seed, variety, jpeg_quality, str(part)) for i in range(count)]
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in tqdm(pool.imap_unordered(_write, jobs, chunksize=16), total=len(jobs), desc="embedded", unit="img"):
            pass
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    return folder
