"""MNIST: what is said where its files are missing or damaged; and the real one, if it is here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import datasets as torchvision_datasets

from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.mnist import FILES, mnist, mnist_validation, prepare
from stn_cluster.errors import UserError


@pytest.fixture(scope="module")
def data_root() -> Path:
    """Folder of MNIST's files; the test is skipped if they are missing."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    root = Path(os.environ.get("STN_CLUSTER_DATA") or beside)
    if not all((root / "MNIST" / "raw" / name).is_file() for name in FILES):
        pytest.skip(f"MNIST is not in {root}")
    return root


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(torchvision_datasets.MNIST, "download", download)


def sparse_files(root: Path, **sizes: int) -> Path:
    """Files of MNIST's names and sizes, empty on the disk; `sizes` are other ones, by prefix."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, size in FILES.items():
        with (folder / name).open("wb") as file:
            file.truncate(sizes.get(name.replace("-", "_"), size))
    return folder


def test_files_of_the_right_sizes_are_accepted_without_a_download(
    tmp_path: Path, no_network: None
) -> None:
    sparse_files(tmp_path)
    prepare(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("off", [-1, 1])
def test_a_file_of_a_wrong_size_is_named_with_both_sizes(
    tmp_path: Path, no_network: None, name: str, off: int
) -> None:
    folder = sparse_files(tmp_path, **{name.replace("-", "_"): FILES[name] + off})
    with pytest.raises(UserError) as caught:
        prepare(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: has {FILES[name] + off:,} bytes")
    assert f"{FILES[name]:,}" in message
    assert "\n" not in message
    assert (folder / name).exists()


@pytest.mark.parametrize("present", [0, 1, 3])
def test_absent_files_that_cannot_be_downloaded_are_named_with_their_folder(
    tmp_path: Path, no_network: None, present: int
) -> None:
    folder = sparse_files(tmp_path)
    missing = list(FILES)[present:]
    for name in missing:
        (folder / name).unlink()
    for load in (prepare, mnist, mnist_validation):
        with pytest.raises(UserError) as caught:
            load(tmp_path)
        message = str(caught.value)
        assert f"put {', '.join(missing)} into {folder}," in message
        assert "`dataset: digits`" in message
        assert "--data-root" in message
        assert "\n" not in message


def test_a_download_that_brings_nothing_is_told_as_a_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchvision's, where it finds its old processed/*.pt beside no raw files."""
    monkeypatch.setattr(torchvision_datasets.MNIST, "__init__", lambda *_, **__: None)
    with pytest.raises(UserError, match=r"put train-images-idx3-ubyte, .*`dataset: digits`"):
        prepare(tmp_path)


def test_a_root_that_is_not_there_is_named(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(UserError, match=f"data root {tmp_path / 'nowhere'}: .*train-images"):
        prepare(tmp_path / "nowhere")


@pytest.mark.parametrize("header", [0, 0x0A03], ids=hex)
def test_files_that_are_not_mnists_are_refused_in_one_line(
    tmp_path: Path, no_network: None, header: int
) -> None:
    folder = sparse_files(tmp_path)
    with (folder / "train-images-idx3-ubyte").open("r+b") as file:
        file.write(header.to_bytes(4, "big"))
    with pytest.raises(UserError, match=r"MNIST cannot be read: .") as caught:
        mnist(tmp_path)
    assert str(caught.value).startswith(f"data root {tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_labels_that_are_not_digits_are_refused_in_one_line(
    tmp_path: Path, no_network: None
) -> None:
    folder = sparse_files(tmp_path)
    for name, size in FILES.items():
        shape = [(size - 16) // 784, 28, 28] if "images" in name else [size - 8]
        with (folder / name).open("r+b") as file:
            file.write(np.array([0x800 + len(shape), *shape], ">i4").tobytes() + b"\x63" * 9)
    with pytest.raises(UserError, match="labels: from 0 to 9"):
        mnist(tmp_path)


def test_real_mnist_is_read(data_root: Path) -> None:
    data = load_dataset("mnist", data_root)
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert data.test_repeats == 1
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]  # as everyone knows them
    assert data.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.train_images.float().mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_mnist_validation_is_a_fixed_disjoint_split_of_the_training_images(
    data_root: Path,
) -> None:
    whole, split = load_dataset("mnist", data_root), load_dataset("mnist-validation", data_root)
    assert split.train_images.shape == (50_000, 28, 28)
    assert split.test_images.shape == (10_000, 28, 28)

    def prints(images: Tensor, labels: Tensor) -> list[bytes]:
        pixels = images.numpy().reshape(len(images), -1)
        return [p.tobytes() + bytes([y]) for p, y in zip(pixels, labels.tolist(), strict=True)]

    train = prints(split.train_images, split.train_labels)
    validation = prints(split.test_images, split.test_labels)
    assert sorted(train + validation) == sorted(prints(whole.train_images, whole.train_labels))
    assert not set(validation) & set(prints(whole.test_images, whole.test_labels))
    torch.manual_seed(3)
    again = load_dataset("mnist-validation", data_root)
    assert torch.equal(again.test_images, split.test_images)
    assert torch.equal(again.train_labels, split.train_labels)


def test_mnist_validation_5_distorts_each_validation_image_five_ways(data_root: Path) -> None:
    once, five = (load_dataset(f"mnist-validation{n}", data_root) for n in ("", "-5"))
    assert (once.test_repeats, five.test_repeats) == (1, 5)
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(once, part), getattr(five, part))
