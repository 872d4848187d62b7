"""A small data set in colour, as a file: discs whose hue and place tell their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = 3


def write_discs(root: Path, name: str = "discs", frame: int = 32, count: int = 60) -> None:
    """Writes NAME.npz: RGB images of three classes, `count` to train on and as many to test on."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:frame, :frame] / frame
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        labels = rng.permutation(count) % CLASSES
        images = np.zeros((count, 3, frame, frame))
        for image, label in zip(images, labels, strict=True):
            y, x = rng.uniform(0.35, 0.65, 2)
            disc = (rows - y) ** 2 + (columns - x) ** 2 < 0.05
            image[:] = rng.uniform(0, 60, image.shape)
            image[label][disc] += 150
        arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels}
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / f"{name}.npz", **arrays)
