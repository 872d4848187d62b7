"""Data sets that are files under the data root."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.mnist import small_mnist, write
from support.photographs import places, write_archive, write_folders

from stn_cluster.data.datasets import load_dataset
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.registry import describe_dataset, find_dataset
from stn_cluster.registry.dataset_lookup import found_dataset

PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def write_idx(folder: Path) -> None:
    write(folder, small_mnist()[0])


def arrays(frame: int = 12, channels: int = 3) -> dict[str, np.ndarray]:
    pictures = places(5, frame, each=2, seed=0)
    images = pictures if channels == 3 else pictures[:, 0]
    return dict(zip(PARTS, (images, np.arange(10) % 5, images[:5], np.arange(5)), strict=True))


def test_an_archive_of_arrays(tmp_path: Path) -> None:
    given = arrays()
    np.savez_compressed(tmp_path / "signs.npz", **given)
    info = describe_dataset("signs", tmp_path)
    assert info == DatasetInfo(frame=12, channels=3, n_classes=5, background=(0, 0, 0))
    data = load_dataset("signs", tmp_path)
    assert data.info == info
    assert torch.equal(data.train_images, torch.from_numpy(given["train_images"]))
    assert data.test_labels.tolist() == [0, 1, 2, 3, 4]


def test_an_archive_may_say_its_background_and_names(tmp_path: Path) -> None:
    more = {"background": np.array(255), "class_names": np.array(list("abcde"))}
    np.savez(tmp_path / "grey.npz", **arrays(channels=1), **more)
    data = load_dataset("grey", tmp_path)
    assert (data.channels, data.background) == (1, (255,))
    assert data.info == describe_dataset("grey", tmp_path)
    assert data.class_names == tuple("abcde")


@pytest.mark.parametrize("place", ["kanji", "kanji/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files(place: str, packed: bool, tmp_path: Path) -> None:
    contents, _ = small_mnist()
    if packed:
        contents = {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    write(tmp_path / place, contents)
    assert describe_dataset("kanji", tmp_path) == DatasetInfo()
    data = load_dataset("kanji", tmp_path)
    assert data.info == DatasetInfo()
    assert (len(data.train_labels), len(data.test_labels)) == (30, 20)
    assert data.train_images.shape == (30, 28, 28)


def test_folders_of_images(tmp_path: Path) -> None:
    write_folders(tmp_path, "signs", n_classes=3)
    (tmp_path / "signs" / "dataset.yaml").write_text(
        "size: 32\nbackground: [1, 2, 3]\nclass_names: {place01: The flower}\n"
    )
    info = describe_dataset("signs", tmp_path)
    assert info == DatasetInfo(frame=32, channels=3, n_classes=3, background=(1, 2, 3))
    data = load_dataset("signs", tmp_path)
    assert data.info == info
    assert data.class_names == ("place00", "The flower", "place02")
    assert data.train_labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    with Image.open(tmp_path / "signs" / "train" / "place01" / "2.jpg") as picture:
        # 80 x 64: the shorter side is scaled, and the middle stays.
        scaled = picture.resize((40, 32), Image.Resampling.BICUBIC)
        expected = scaled.crop((4, 0, 36, 32))
    ours = data.train_images[8].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(ours - np.asarray(expected).astype(int)).max() <= 1


def test_without_settings_images_have_64_pixels_and_colours(tmp_path: Path) -> None:
    write_folders(tmp_path, "signs", n_classes=2)
    assert describe_dataset("signs", tmp_path) == DatasetInfo(
        frame=64, channels=3, n_classes=2, background=(0, 0, 0)
    )


def test_decoded_images_are_mapped_and_decoded_once(tmp_path: Path) -> None:
    write_folders(tmp_path, "signs", n_classes=2)
    first = load_dataset("signs", tmp_path)
    [folder] = (tmp_path / ".stn-cluster").glob("signs-*")
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert sorted(made) == ["test.npy", "train.npy"]
    again = load_dataset("signs", tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made
    assert torch.equal(first.train_images, again.train_images)
    maps = Path("/proc/self/maps").read_text()
    assert str(folder / "train.npy") in maps
    first.train_images[0] = 7  # a mistake of a process stays its own
    assert not torch.equal(load_dataset("signs", tmp_path).train_images[0], first.train_images[0])


def test_changed_images_take_the_place_of_the_decoded_ones(tmp_path: Path) -> None:
    write_folders(tmp_path, "signs", n_classes=2)
    before = load_dataset("signs", tmp_path).train_images.clone()
    image = tmp_path / "signs" / "train" / "place00" / "0.jpg"
    Image.new("RGB", (64, 64), (9, 9, 9)).save(image)
    after = load_dataset("signs", tmp_path).train_images
    assert len(list((tmp_path / ".stn-cluster").glob("signs-*"))) == 1
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda root: write_archive(root, "signs", 2, 12), lambda root: write_idx(root / "signs")),
        (
            lambda root: write_archive(root, "signs", 2, 12),
            lambda root: write_folders(root, "signs", n_classes=2),
        ),
        (
            lambda root: write_folders(root, "signs", n_classes=2),
            lambda root: write_idx(root / "signs" / "raw"),
        ),
        (
            lambda root: write_idx(root / "signs"),
            lambda root: write_idx(root / "signs" / "raw"),
        ),
    ],
    ids=["archive and IDX", "archive and folders", "folders and IDX", "IDX twice"],
)
def test_two_of_a_name_are_refused(
    one: Callable[[Path], None], other: Callable[[Path], None], tmp_path: Path
) -> None:
    one(tmp_path)
    find_dataset("signs", tmp_path)
    other(tmp_path)
    with pytest.raises(UserError, match=r"data set 'signs': .* and .*: only one of them"):
        find_dataset("signs", tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_labels": None}, "has no test_labels; expected train_images, .* (there is"),
        ({"train_images": np.zeros((4, 12, 12, 3), np.uint8)}, "train_images: .* C is 1 or 3"),
        ({"train_images": np.zeros((10, 3, 7, 7), np.uint8)}, "frame: .* 8 (given: 7)"),
        ({"train_images": np.zeros((10, 3, 12, 13), np.uint8)}, "train_images: .*H = W"),
        ({"train_images": np.zeros((10, 3, 12, 12))}, "train_images: .* of float64"),
        ({"train_labels": np.arange(9)}, "train_labels: one for each image, not 9 for 10"),
        ({"train_images": np.zeros((4, 12, 12, 3), np.uint8)}, "train_images: .*transpose"),
        ({"train_images": np.zeros((10, 3, 12, 12))}, "train_images: .*multiply"),
        ({"train_labels": np.arange(10) - 1}, "train_labels: from 0 to 65,534, not -1 to 8"),
        ({"train_labels": np.full(10, 70_000)}, "train_labels: from 0 to 65,534, not 70000"),
        ({"train_labels": np.full(10, np.nan)}, "train_labels: from 0 to 65,534, not nan"),
        ({"train_labels": np.zeros(10), "test_labels": np.zeros(5)}, "train_labels: all are 0"),
        ({"test_labels": np.arange(5) + 8}, "test_labels: no training image is of class 8"),
        ({"test_labels": np.zeros((5, 1), int)}, "test_labels: one whole number for each image"),
        ({"test_labels": np.array([{}] * 5)}, "test_labels: .*allow_pickle"),
        ({"test_images": np.zeros((5, 3, 16, 16), np.uint8)}, "test_images: .* as train_images"),
    ],
)
def test_an_archive_of_wrong_arrays_is_refused_and_the_file_and_array_named(
    changed: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    given = {name: value for name, value in (arrays() | changed).items() if value is not None}
    np.savez(tmp_path / "signs.npz", **given)
    expected = re.escape(f"{tmp_path}/signs.npz: ") + message.replace("(", r"\(").replace(
        ")", r"\)"
    )
    with pytest.raises(UserError, match=expected):
        find_dataset("signs", tmp_path).load_prepare()(tmp_path)  # type: ignore[misc]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_a_torn_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "signs.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"signs.npz: is no whole .npz file"):
        find_dataset("signs", tmp_path)


def test_incomplete_and_foreign_idx_files_are_refused(tmp_path: Path) -> None:
    contents, _ = small_mnist()
    write(tmp_path / "some", {name: contents[name] for name in list(contents)[:3]})
    with pytest.raises(UserError, match="some: has no t10k-labels-idx1-ubyte"):
        find_dataset("some", tmp_path)
    write(tmp_path / "other", contents | {"train-labels-idx1-ubyte": b"something"})
    with pytest.raises(UserError, match="train-labels-idx1-ubyte: is no IDX file of bytes with 1"):
        find_dataset("other", tmp_path)
    write(
        tmp_path / "torn",
        contents | {"train-images-idx3-ubyte": contents["train-images-idx3-ubyte"][:99]},
    )
    one_class = {
        name: c[:8] + bytes(len(c) - 8) for name, c in contents.items() if "labels" in name
    }
    write(tmp_path / "alike", contents | one_class)
    with pytest.raises(UserError, match="alike: train_labels: all are 0"):
        find_dataset("alike", tmp_path)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte: has 83 values; its header"):
        find_dataset("torn", tmp_path).load_prepare()(tmp_path)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["../signs", "a/b", "/etc", ".hidden", "-x", "", "signs\0"])
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    write_archive(tmp_path, "signs", 2, 12)
    with pytest.raises(UserError, match="unknown dataset"):
        find_dataset(name, tmp_path / "below")


def test_an_unknown_name_is_told_what_there_is(tmp_path: Path) -> None:
    write_archive(tmp_path, "signs", 2, 12)
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match=r"unknown dataset 'sings': did you mean 'signs'\? allowed"):
        find_dataset("sings", tmp_path)


def test_a_built_in_name_comes_first(tmp_path: Path) -> None:
    write_archive(tmp_path, "digits", 2, 12)
    assert load_dataset("digits", tmp_path).frame == 28


@pytest.mark.parametrize("name", ["digits", "signs"])
def test_each_data_set_has_a_validation_split(name: str, tmp_path: Path) -> None:
    write_archive(tmp_path, "signs", n_classes=3, frame=12, train=7)
    whole, split = (load_dataset(each, tmp_path) for each in (name, f"{name}-validation"))
    n = len(whole.train_labels)
    assert (len(split.train_labels), len(split.test_labels)) == (n - n // 6, n // 6)
    both = torch.cat([split.train_images, split.test_images]).flatten(1)
    assert sorted(map(bytes, both.numpy())) == sorted(
        map(bytes, whole.train_images.flatten(1).numpy())
    )
    again = load_dataset(f"{name}-validation", tmp_path)
    assert torch.equal(again.test_images, split.test_images)
    assert describe_dataset(f"{name}-validation", tmp_path) == whole.info
    with pytest.raises(UserError, match="unknown dataset"):
        find_dataset("nothing-validation", tmp_path)


def test_describing_needs_no_torch(tmp_path: Path) -> None:
    write_archive(tmp_path, "arrays", 2, 12)
    write_folders(tmp_path, "folders", n_classes=2)
    write_idx(tmp_path / "idx")
    code = (
        "import sys; from pathlib import Path; from stn_cluster.registry import found_dataset\n"
        f"for name in ('arrays', 'folders', 'idx'): found_dataset(name, Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'PIL', 'torchvision', 'ray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["archive", "folders", "idx"])
def test_a_data_root_may_be_named_from_the_working_directory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    if kind == "archive":
        np.savez(root / "mine.npz", **arrays())
    elif kind == "folders":
        write_folders(root, "mine", n_classes=2, train=2, test=1)
    else:
        write_idx(root / "mine")
    monkeypatch.chdir(tmp_path)
    revision = found_dataset("mine", root).revision
    assert found_dataset("mine").revision == revision  # of the default, which is `data`
    assert found_dataset("mine", Path("data")).revision == revision
    monkeypatch.chdir(root)
    assert found_dataset("mine", Path()).revision == revision
