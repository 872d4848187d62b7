"""The data sets `mnist` and `mnist-validation`: read, and where absent fetched, by torchvision."""

from __future__ import annotations

from pathlib import Path

import torch

from stn_cluster.data.datasets import Dataset
from stn_cluster.errors import UserError

# The four files and their sizes in bytes, unpacked.
FILES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
DEFAULT_ROOT = Path("data")
N_VALIDATION = 10_000


def prepare(root: Path | None = None) -> None:
    """Sees to it that MNIST's files are under `root`/MNIST/raw and whole; downloads them if absent.

    Raises:
        UserError: they are absent and cannot be downloaded, or one is damaged.
    """
    root = root or DEFAULT_ROOT
    folder = root / "MNIST" / "raw"
    if not all((folder / name).is_file() for name in FILES):
        _download(root, folder)
    for name, size in FILES.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise UserError(
                f"{folder / name}: has {found:,} bytes, MNIST's has {size:,}: "
                "remove it to download it again, or put the right file there"
            )


def _download(root: Path, folder: Path) -> None:
    from torchvision.datasets import MNIST

    missing = [name for name in FILES if not (folder / name).is_file()]
    try:
        MNIST(str(root), train=True, download=True)
        for name in missing:  # where torchvision finds its old processed/*.pt, it brings nothing
            (folder / name).stat()
    except Exception as error:  # torchvision passes on whatever its mirrors raised
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
    from torchvision.datasets import MNIST

    root = root or DEFAULT_ROOT
    prepare(root)
    try:
        train = MNIST(str(root), train=True)
        test = MNIST(str(root), train=False)
        return Dataset(train.data, train.targets, test.data, test.targets)
    except Exception as error:  # torchvision's readers meet a damaged header with any error
        reason = " ".join(str(error).split()) or "not in MNIST's format"
        raise UserError(f"data root {root}: MNIST cannot be read: {reason}") from error


def mnist_validation(root: Path | None = None) -> Dataset:
    """MNIST's training images split 50,000 / 10,000, fixed: to tune recipes on.

    The test images are not in it.
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
