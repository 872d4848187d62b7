"""Data sets: images, labels, and the number of distorted versions of each test image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stn_cluster.registry import lookup

FRAME = 28  # pixels, height and width of an undistorted image
MAX_CLASSES = 65_535  # the store uses 16 bits per class


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one object on an empty background, with a fixed split.

    Raises:
        ValueError: a shape, a type or a label is wrong; the message says which.
    """

    train_images: Tensor  # (N, 28, 28) uint8, 0 for the background
    train_labels: Tensor  # (N,) int64, 0 to n_classes - 1
    test_images: Tensor  # (M, 28, 28) uint8
    test_labels: Tensor  # (M,) int64
    n_classes: int = 10
    test_repeats: int = 1  # distorted versions of each test image in the test set
    class_names: tuple[str, ...] | None = None  # by class; None: a class is its number

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images: Tensor = getattr(self, f"{part}_images")
            labels: Tensor = getattr(self, f"{part}_labels")
            if images.dtype != torch.uint8 or images.shape[1:] != (FRAME, FRAME):
                raise ValueError(
                    f"{part}_images: (N, {FRAME}, {FRAME}) of uint8, "
                    f"not {tuple(images.shape)} of {images.dtype}"
                )
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
                raise ValueError(f"{part}_labels: one int64 for each image, and at least one")
            if int(labels.min()) < 0 or int(labels.max()) >= self.n_classes:
                raise ValueError(f"{part}_labels: from 0 to {self.n_classes - 1}")
        if not 2 <= self.n_classes <= MAX_CLASSES:
            raise ValueError(f"n_classes: 2 to {MAX_CLASSES:,}, not {self.n_classes:,}")
        if self.test_repeats < 1:
            raise ValueError("test_repeats: at least 1")
        if self.class_names is not None and len(self.class_names) != self.n_classes:
            raise ValueError(f"class_names: one for each of the {self.n_classes:,} classes")


def load_dataset(name: str, root: Path | None = None) -> Dataset:
    """Loads a registered data set; `root` is the folder of data files.

    Raises:
        UserError: no such data set, or its files are missing or damaged.
    """
    dataset = lookup("dataset", name).load()(root)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"data set {name!r} returned {type(dataset).__name__}, not a Dataset")
    return dataset
