"""The data sets `mnist`, `mnist-validation` and `mnist-validation-5`.

If MNIST's files are missing, torchvision downloads them. This module reads them itself, as
importing torchvision takes more than a second in every worker.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stn_cluster.data.datasets import FRAME, Dataset
from stn_cluster.errors import UserError

SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, FRAME, FRAME),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, FRAME, FRAME),
    "t10k-labels-idx1-ubyte": (10_000,),
}
BYTES = 0x800  # the format's code for unsigned bytes; the number of axes is added to it
# The four files and their uncompressed sizes in bytes: 4 bytes for the code and for each axis, then
# the data.
FILES = {name: 4 * (1 + len(shape)) + math.prod(shape) for name, shape in SHAPES.items()}
DEFAULT_ROOT = Path("data")
N_VALIDATION = 10_000
VALIDATION_REPEATS = 5  # distorted versions of each test image in `mnist-validation-5`


def prepare(root: Path | None = None) -> None:
    """Checks that MNIST's files are complete under `root`/MNIST/raw; downloads missing ones.

    Raises:
        UserError: files are missing and cannot be downloaded, or one is damaged.
    """
    root = root or DEFAULT_ROOT
    folder = root / "MNIST" / "raw"
    if not all((folder / name).is_file() for name in FILES):
        _download(root, folder)
    for name, size in FILES.items():
        actual = (folder / name).stat().st_size
        if actual != size:
            raise UserError(
                f"{folder / name}: has {actual:,} bytes, MNIST's has {size:,}: "
                "remove it to download it again, or put the right file there"
            )


def _download(root: Path, folder: Path) -> None:
    from torchvision.datasets import MNIST

    missing = [name for name in FILES if not (folder / name).is_file()]
    try:
        MNIST(str(root), train=True, download=True)
        for name in missing:  # torchvision downloads nothing if its old processed/*.pt exist
            (folder / name).stat()
    except Exception as error:  # torchvision raises whatever its mirrors raised
        raise UserError(
            f"data root {root}: MNIST is not there and cannot be downloaded "
            f"({type(error).__name__}); put {', '.join(missing)} into {folder}, name another "
            "place with --data-root, or use `dataset: digits`, which needs no files"
        ) from error


def mnist(root: Path | None = None) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images.

    Raises:
        UserError: see `prepare`.
    """
    root = root or DEFAULT_ROOT
    prepare(root)
    folder = root / "MNIST" / "raw"
    try:
        images, labels, test_images, test_labels = (
            _read(folder / name, shape) for name, shape in SHAPES.items()
        )
        return Dataset(images, labels, test_images, test_labels)
    except ValueError as error:
        raise UserError(f"data root {root}: MNIST cannot be read: {error}") from error


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Reads one file: pixels as uint8, labels as int64."""
    content = bytearray(path.read_bytes())
    header = np.array([BYTES + len(shape), *shape], ">i4").tobytes()
    if not content.startswith(header):
        raise ValueError(f"{path.name} is not MNIST's: it begins with {content[:16].hex(' ', 4)}")
    values = torch.frombuffer(content, dtype=torch.uint8, offset=len(header)).view(shape)
    return values if len(shape) > 1 else values.long()


def mnist_validation(root: Path | None = None) -> Dataset:
    """MNIST's training images in a fixed split of 50,000 / 10,000, for tuning recipes.

    It does not contain MNIST's test images.
    """
    whole = mnist(root)
    order = torch.randperm(len(whole.train_images), generator=torch.Generator().manual_seed(0))
    validation, train = order[:N_VALIDATION], order[N_VALIDATION:]
    return Dataset(
        whole.train_images[train],
        whole.train_labels[train],
        whole.train_images[validation],
        whole.train_labels[validation],
    )


def mnist_validation_5(root: Path | None = None) -> Dataset:
    """`mnist_validation` with five distorted versions of each of its 10,000 images: less noise."""
    return replace(mnist_validation(root), test_repeats=VALIDATION_REPEATS)
