"""The data sets `mnist`, `mnist-validation` and `mnist-validation-5`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stn_cluster.data.datasets import Dataset, validation_split
from stn_cluster.data.mnist_files import FILES, IdxFile, find, folders, present
from stn_cluster.errors import UserError
from stn_cluster.registry import DEFAULT_ROOT

VALIDATION_REPEATS = 5  # distorted versions of each test image in `mnist-validation-5`


def prepare(root: Path | None = None) -> None:
    """Checks that MNIST's files are under `root`, whole and unchanged; downloads missing ones.

    Raises:
        UserError: files are missing and cannot be downloaded, or one is not MNIST's.
    """
    _contents(root or DEFAULT_ROOT)


def mnist(root: Path | None = None) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images.

    Raises:
        UserError: see `prepare`.
    """
    contents = _contents(root or DEFAULT_ROOT)
    train_images, train_labels, test_images, test_labels = (
        _values(file, contents[file.name]) for file in FILES
    )
    return Dataset(train_images, train_labels, test_images, test_labels)


def _contents(root: Path) -> dict[str, bytearray]:
    """Contents of the four files by name."""
    contents = find(root)
    missing = [file for file in FILES if file.name not in contents]
    if missing:
        contents |= _download(root, missing)
    return contents


def _download(root: Path, missing: list[IdxFile]) -> dict[str, bytearray]:
    # Imported here, as no worker needs it where the files are there.
    from stn_cluster.data.mnist_download import DownloadError, download

    place = folders(root)[0]
    there = present(root)  # before the download, which makes folders
    try:
        return download(missing, place)
    except (DownloadError, UserError) as error:
        names = ", ".join(file.name for file in missing)
        raise UserError(
            f"data root {root}: MNIST is not there and cannot be downloaded: {error}; put {names} "
            f"into {place}, name another place with --data-root, or use `dataset: digits`, which "
            f"needs no files ({there or 'there is nothing yet'}; looked for these names, with .idx "
            f"and .gz too, in {', '.join(str(folder) for folder in folders(root))})"
        ) from error


def _values(file: IdxFile, content: bytearray) -> Tensor:
    """Values of one file: pixels as uint8, labels as int64."""
    values = torch.frombuffer(content, dtype=torch.uint8, offset=len(file.header)).view(file.shape)
    return values if len(file.shape) > 1 else values.long()


def mnist_validation(root: Path | None = None) -> Dataset:
    """MNIST's training images in a fixed split of 50,000 / 10,000, for tuning recipes.

    It does not contain MNIST's test images.
    """
    return validation_split(mnist(root))


def mnist_validation_5(root: Path | None = None) -> Dataset:
    """`mnist_validation` with five distorted versions of each of its 10,000 images: less noise."""
    return replace(mnist_validation(root), test_repeats=VALIDATION_REPEATS)
