"""The data sets `fashion-mnist`, `kmnist` and `cifar10`: torchvision's files, known by its digests.

Files are looked for where torchvision puts them under the data root, and downloaded if they are not
there. They are read only if they have the digests that torchvision knows.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stn_cluster.data.datasets import Dataset, from_arrays
from stn_cluster.data.idx_files import read_values
from stn_cluster.errors import UserError
from stn_cluster.registry import DEFAULT_ROOT

SILENCE_SECONDS = 20.0  # without a byte, after which a download is given up


def fashion_mnist(root: Path | None = None) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 and 10,000 grey images of 28x28, 10 classes.

    Raises:
        UserError: files are missing and cannot be downloaded, or are something else.
    """
    return _of_four_files("FashionMNIST", root)


def kmnist(root: Path | None = None) -> Dataset:
    """Kuzushiji-MNIST (Clanuwat et al. 2018): 60,000 and 10,000 grey images of 28x28, 10 classes.

    Raises:
        UserError: see `fashion_mnist`.
    """
    return _of_four_files("KMNIST", root)


def cifar10(root: Path | None = None) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 coloured images of 32x32, 10 classes.

    Raises:
        UserError: see `fashion_mnist`.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    root = root or DEFAULT_ROOT
    folder = root / CIFAR10.base_folder
    listed = [
        *CIFAR10.train_list,
        *CIFAR10.test_list,
        [CIFAR10.meta["filename"], CIFAR10.meta["md5"]],
    ]
    for name, digest in listed:
        # Before torchvision looks at it, which would unpack an archive over it.
        if (folder / name).is_file() and not check_integrity(str(folder / name), digest):
            raise _other(folder / name, "cifar10")
    there = all((folder / name).is_file() for name, _ in listed)
    with _told("cifar10", folder):
        parts = [
            CIFAR10(str(root), train=train, download=not there and train) for train in (True, False)
        ]
    images = [np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)) for part in parts]
    train, test = (np.asarray(part.targets) for part in parts)
    names = tuple(parts[0].classes)
    return from_arrays(images[0], train, images[1], test, n_classes=len(names), class_names=names)


def prepare_fashion_mnist(root: Path | None = None) -> None:
    """Checks the files, or downloads them; raises as `fashion_mnist`."""
    _four_files("FashionMNIST", root)


def prepare_kmnist(root: Path | None = None) -> None:
    """Checks the files, or downloads them; raises as `fashion_mnist`."""
    _four_files("KMNIST", root)


def prepare_cifar10(root: Path | None = None) -> None:
    """Checks the files, or downloads them; raises as `fashion_mnist`."""
    cifar10(root)


def _of_four_files(name: str, root: Path | None) -> Dataset:
    parts = [
        read_values(path, axes)
        for path, axes in zip(_four_files(name, root), (3, 1, 3, 1), strict=True)
    ]
    return from_arrays(*parts)


def _four_files(name: str, root: Path | None) -> list[Path]:
    """The four files of a class of torchvision's, which are gzipped."""
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    known: Any = getattr(datasets, name)
    folder = (root or DEFAULT_ROOT) / name / "raw"
    paths = []
    for file, digest in known.resources:
        path = folder / file
        if not path.is_file():
            _download(name, known.mirrors, file, digest, folder)
        elif not check_integrity(str(path), digest):
            raise _other(path, name)
        paths.append(path)
    return paths


def _download(name: str, mirrors: list[str], file: str, digest: str, folder: Path) -> None:
    from torchvision.datasets.utils import download_url

    for mirror in mirrors[:-1]:
        try:
            with _told(name, folder / file):
                download_url(f"{mirror}{file}", str(folder), file, digest)
            return
        except UserError:  # the next mirror is tried
            continue
    with _told(name, folder / file):
        download_url(f"{mirrors[-1]}{file}", str(folder), file, digest)


@contextmanager
def _told(name: str, place: Path) -> Iterator[None]:
    """Tells in one line that files are missing and cannot be downloaded."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{place}: {name} is not there and cannot be downloaded: {reason}; put its files there "
            "as torchvision's download has them, or name another place with --data-root"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _other(path: Path, name: str) -> UserError:
    return UserError(
        f"{path}: is not {name}'s (its MD5 is another one): remove it to download it again, or put "
        "the right file there; data of your own needs a name of its own"
    )
