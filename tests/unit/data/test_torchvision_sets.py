"""Data sets of torchvision's, on small files in the real format whose digests are put in place."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.mnist import small_mnist
from torchvision import datasets

from stn_cluster.data import torchvision_sets
from stn_cluster.data.datasets import load_dataset
from stn_cluster.errors import UserError
from stn_cluster.registry import describe_dataset, found_dataset

OF_MNISTS_FORMAT = {"fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(params=sorted(OF_MNISTS_FORMAT))
def four_files(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """Name of a data set, and the folder of its small files."""
    of_torchvision: Any = getattr(datasets, OF_MNISTS_FORMAT[request.param])
    folder = tmp_path / of_torchvision.__name__ / "raw"
    folder.mkdir(parents=True)
    resources = []
    for name, content in small_mnist()[0].items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", md5(packed)))
    monkeypatch.setattr(of_torchvision, "resources", resources)
    monkeypatch.setattr(of_torchvision, "mirrors", ["http://127.0.0.1:9/"])
    return request.param, folder


def test_files_of_mnists_format(four_files: tuple[str, Path], tmp_path: Path) -> None:
    name, _ = four_files
    data = load_dataset(name, tmp_path)
    assert data.info == describe_dataset(name, tmp_path)
    assert (len(data.train_labels), len(data.test_labels)) == (30, 20)
    assert found_dataset(name, tmp_path).revision == 1


def test_another_ones_files_are_refused(four_files: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = four_files
    content = (folder / "t10k-images-idx3-ubyte.gz").read_bytes()
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content[:-1] + b"x")
    told = f"t10k-images-idx3-ubyte.gz: is not {OF_MNISTS_FORMAT[name]}'s"
    with pytest.raises(UserError, match=told):
        load_dataset(name, tmp_path)


def test_absent_files_that_cannot_be_downloaded_are_told(
    four_files: tuple[str, Path], tmp_path: Path
) -> None:
    name, folder = four_files
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz: .* cannot be downloaded"):
        load_dataset(name, tmp_path)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of small files of CIFAR-10's format."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    draws = np.random.default_rng(0)

    def written(name: str, content: object) -> list[str]:
        packed = pickle.dumps(content)
        (folder / name).write_bytes(packed)
        return [name, md5(packed)]

    def batch(name: str, n: int) -> list[str]:
        pixels = draws.integers(0, 256, (n, 3072), np.uint8)
        return written(name, {"data": pixels, "labels": [i % 10 for i in range(n)]})

    monkeypatch.setattr(datasets.CIFAR10, "train_list", [batch("data_batch_1", 30)])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [batch("test_batch", 10)])
    name, digest = written("batches.meta", {"label_names": [f"name{i}" for i in range(10)]})
    meta = {"filename": name, "key": "label_names", "md5": digest}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    return folder


def test_cifar10(cifar: Path, tmp_path: Path) -> None:
    data = load_dataset("cifar10", tmp_path)
    assert data.info == describe_dataset("cifar10", tmp_path)
    assert data.class_names is not None
    assert data.class_names[3] == "name3"
    stored = pickle.loads((cifar / "test_batch").read_bytes())
    expected = torch.from_numpy(stored["data"]).view(10, 3, 32, 32)  # red, green, blue, by rows
    assert torch.equal(data.test_images, expected)
    assert data.test_labels.tolist() == stored["labels"]
    torchvision_sets.prepare_cifar10(tmp_path)


def test_something_else_in_cifar10s_place_is_refused(cifar: Path, tmp_path: Path) -> None:
    (cifar / "test_batch").write_bytes(pickle.dumps("something else"))
    with pytest.raises(UserError, match="test_batch: is not cifar10's"):
        load_dataset("cifar10", tmp_path)


def test_cifar10_that_is_not_there_is_told(cifar: Path, tmp_path: Path) -> None:
    (cifar / "test_batch").unlink()
    with pytest.raises(UserError, match="cifar10 is not there and cannot be downloaded"):
        load_dataset("cifar10", tmp_path)
