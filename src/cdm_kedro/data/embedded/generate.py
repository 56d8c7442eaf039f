"""The embedded data set as a folder of JPEGs. Every image is a function of (seed, split, class, index) alone."""

import shutil
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.embedded.drawings import CLASSES
from cdm_kedro.data.embedded.scene import Scene
from cdm_kedro.files.places import disk_full_explained
from cdm_kedro.params.data import EmbeddedParams
from cdm_kedro.processes.pool import shared_out

SPLITS = ("train", "val")


def _vary(s: Scene, variety: float) -> None:
    """Draw another view (turned, nearer, off centre) and another light (any hue, duller or brighter)."""
    import cv2

    angle, zoom = variety * s.uniform(-30, 30), 1 + variety * s.uniform(0, 0.8)
    view = cv2.getRotationMatrix2D((s.side / 2, s.side / 2), angle, zoom)
    view[:, 2] += variety * s.side * np.array([s.uniform(-0.2, 0.2), s.uniform(-0.2, 0.2)])
    s.rgb = cv2.warpAffine(s.rgb, view, (s.side, s.side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    turn, saturation = variety * s.uniform(-np.pi, np.pi), 1 + variety * s.uniform(-0.6, 0.4)
    gray = s.rgb.mean(axis=2, keepdims=True)
    # Colours turn about the grey axis (Rodrigues' formula), so that only the hue moves and brightness stays.
    axis = np.full(3, 1 / np.sqrt(3), np.float32)
    color = s.rgb - gray
    color = color * np.cos(turn) + np.cross(axis, color) * np.sin(turn)
    contrast, brightness = 1 + variety * s.uniform(-0.3, 0.2), variety * s.uniform(-0.1, 0.1)
    s.rgb = ((gray + saturation * color - 0.5) * contrast + 0.5 + brightness).astype(np.float32)


def render(name: str, split: str, index: int, side: int, seed: int, variety: float = 0.0) -> NDArray[np.uint8]:
    """Draw image ``index`` of a class of :data:`CLASSES` in the split "train" or "val": (side, side, 3) uint8.

    View and light differ the more between images, the greater ``variety`` (0 .. 1) is.
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


def _write(folder: Path, params: EmbeddedParams, image: tuple[str, str, int]) -> None:
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)
    split, name, index = image
    pixels = np.ascontiguousarray(render(name, split, index, params.size, params.seed, params.variety))
    data = simplejpeg.encode_jpeg(pixels, quality=params.jpeg_quality, colorspace="RGB", colorsubsampling="444")
    (folder / split / name / f"{name}_{index:05d}.jpg").write_bytes(data)


def generate(folder: Path, params: EmbeddedParams) -> Path:
    """Write the whole data set; an older folder of the name is replaced once the new one is complete.

    Returns ``folder``, holding ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``. Raises CdmError if there is no room
    for the images, or a process was killed.
    """
    from tqdm import tqdm

    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    counts = dict(zip(SPLITS, (params.train_per_class, params.val_per_class), strict=True))
    images = [(split, name, i) for split, count in counts.items() for name in CLASSES for i in range(count)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with disk_full_explained(folder.parent):
            for split, name in product(SPLITS, CLASSES):
                (part / split / name).mkdir(parents=True)
            write = partial(_write, part, params)
            written = shared_out(write, images, None, "drawing the embedded data set", chunksize=16)
            for _ in tqdm(written, total=len(images), desc="embedded", unit="img"):
                pass
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
