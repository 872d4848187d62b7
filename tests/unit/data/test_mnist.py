"""MNIST: found wherever it usually is, refused if it is not MNIST; and the real one, if it is here.

Most tests have small files in its place, with digests of their own.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.mnist import small_mnist, write
from torch import Tensor

from stn_cluster.data import mnist as module
from stn_cluster.data import mnist_download, mnist_files
from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.mnist import mnist, mnist_validation, prepare
from stn_cluster.data.mnist_download import DownloadError
from stn_cluster.data.mnist_files import FILES
from stn_cluster.errors import UserError

NAMES = [file.name for file in FILES]
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


@pytest.fixture(scope="module")
def data_root() -> Path:
    """Folder of MNIST's files; the test is skipped if they are missing."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    root = Path(os.environ.get("STN_CLUSTER_DATA") or beside)
    if not all((root / "MNIST" / "raw" / name).is_file() for name in NAMES):
        pytest.skip(f"MNIST is not in {root}")
    return root


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Contents of small files that stand for MNIST's, by name."""
    contents, files = small_mnist()
    for place in (module, mnist_files):
        monkeypatch.setattr(place, "FILES", files)
    return contents


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        raise DownloadError("no network here")

    monkeypatch.setattr(mnist_download, "download", download)


def refusal(root: Path, load: Callable[[Path], object] = prepare) -> str:
    """The line with which a data root is refused."""
    with pytest.raises(UserError) as caught:
        load(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- where it is ---


@pytest.mark.parametrize("folder", ["MNIST/raw", "raw", ".", "MNIST"])
@pytest.mark.parametrize("dotted", [False, True], ids=["hyphen", "dot"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_it_is_found_under_its_usual_names_in_the_usual_places(
    tmp_path: Path,
    contents: dict[str, bytes],
    no_network: None,
    folder: str,
    *,
    dotted: bool,
    packed: bool,
) -> None:
    named = {
        (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else ""): (
            gzip.compress(content) if packed else content
        )
        for name, content in contents.items()
    }
    write(tmp_path / folder, named)
    data = mnist(tmp_path)
    assert data.train_images.numpy().tobytes() == contents[TRAIN_IMAGES][16:]
    assert bytes(data.train_labels.tolist()) == contents[TRAIN_LABELS][8:]
    assert data.test_images.numpy().tobytes() == contents[TEST_IMAGES][16:]
    assert bytes(data.test_labels.tolist()) == contents[TEST_LABELS][8:]


@pytest.mark.parametrize("named", ["MNIST", "MNIST/raw"])
def test_a_data_root_may_be_the_folder_of_the_files_itself(
    tmp_path: Path, contents: dict[str, bytes], no_network: None, named: str
) -> None:
    write(tmp_path / "MNIST" / "raw", contents)
    prepare(tmp_path / named)


def test_a_folder_of_a_files_name_is_not_the_file(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    """As some archives have it: train-images-idx3-ubyte/train-images-idx3-ubyte."""
    write(tmp_path, {f"{name.replace('-idx', '.idx')}": text for name, text in contents.items()})
    (tmp_path / TRAIN_IMAGES).mkdir()
    prepare(tmp_path)


def test_a_right_file_is_read_where_a_damaged_one_is_beside_it(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    write(tmp_path / "MNIST" / "raw", contents)
    write(tmp_path / "MNIST" / "raw", {TRAIN_IMAGES: b"torn"})
    write(tmp_path / "MNIST" / "raw", {f"{TRAIN_IMAGES}.gz": gzip.compress(contents[TRAIN_IMAGES])})
    prepare(tmp_path)


# --- what is not MNIST ---


def test_files_of_the_right_size_that_are_not_mnist_are_refused_wherever_they_are_loaded(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    """The first line of defence is the driver's, the second is in each worker."""
    for zeros in (bytes(len(contents[TEST_LABELS])), contents[TEST_LABELS][:8] + bytes(20)):
        write(tmp_path / "MNIST" / "raw", {**contents, TEST_LABELS: zeros})
        for load in (prepare, mnist, mnist_validation, lambda root: load_dataset("mnist", root)):
            line = refusal(tmp_path, load)
            assert line.startswith(f"{tmp_path / 'MNIST' / 'raw' / TEST_LABELS}: ")
            assert "MNIST's" in line


def test_other_images_in_mnists_format_are_refused_by_their_digest(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    """As Fashion-MNIST's: the same names, sizes and headers."""
    fashion = {name: text[:-1] + bytes([text[-1] ^ 1]) for name, text in contents.items()}
    write(tmp_path / "MNIST" / "raw", fashion)
    line = refusal(tmp_path)
    assert "has the size of MNIST's but not its contents (SHA-256 " in line
    assert "Fashion-MNIST" in line


@pytest.mark.parametrize(
    ("one", "other"),
    [(TRAIN_IMAGES, TEST_IMAGES), (TRAIN_LABELS, TEST_LABELS), (TRAIN_IMAGES, TRAIN_LABELS)],
)
def test_swapped_files_are_told_by_name(
    tmp_path: Path, contents: dict[str, bytes], no_network: None, one: str, other: str
) -> None:
    swapped = {**contents, one: contents[other], other: contents[one]}
    write(tmp_path / "MNIST" / "raw", swapped)
    assert refusal(tmp_path).startswith(
        f"{tmp_path / 'MNIST' / 'raw' / one}: has the contents of {other}"
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("off", [-1, 1])
def test_a_file_of_a_wrong_size_is_named_with_both_sizes(
    tmp_path: Path, contents: dict[str, bytes], no_network: None, name: str, off: int
) -> None:
    wrong = contents[name][:-1] if off < 0 else contents[name] + b"x"
    write(tmp_path / "MNIST" / "raw", {**contents, name: wrong})
    place = tmp_path / "MNIST" / "raw" / name
    size = len(contents[name])
    assert refusal(tmp_path).startswith(
        f"{place}: has {size + off:,} bytes, MNIST's has {size:,}: remove it to download it again"
    )
    assert place.exists()


def test_a_wrong_header_is_shown(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    wrong = b"\0\0\x0a\x03" + contents[TRAIN_IMAGES][4:]
    write(tmp_path / "MNIST" / "raw", {**contents, TRAIN_IMAGES: wrong})
    assert "it begins with 00000a03 " in refusal(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_gzip_file_is_refused_in_one_line(
    tmp_path: Path, contents: dict[str, bytes], no_network: None, damage: str
) -> None:
    packed = {f"{name}.gz": gzip.compress(text) for name, text in contents.items()}
    name = f"{TRAIN_IMAGES}.gz"
    middle = len(packed[name]) // 2
    torn = packed[name][:middle]
    flipped = torn + bytes([packed[name][middle] ^ 0xFF]) + packed[name][middle + 1 :]
    write(tmp_path, {**packed, name: torn if damage == "torn" else flipped})
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path / name}: is not a whole gzip file (")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    write(tmp_path / "MNIST" / "raw", contents)
    place = tmp_path / "MNIST" / "raw" / TRAIN_IMAGES
    place.chmod(0)
    if os.access(place, os.R_OK):
        pytest.skip("nothing is unreadable for root")
    assert refusal(tmp_path).startswith(f"{place}: cannot be read: Permission denied")


# --- what is missing ---


@pytest.mark.parametrize("present", [0, 1, 3])
def test_absent_files_that_cannot_be_downloaded_are_named_with_their_folder(
    tmp_path: Path, contents: dict[str, bytes], no_network: None, present: int
) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write(folder, {name: contents[name] for name in NAMES[:present]})
    for load in (prepare, mnist, mnist_validation):
        line = refusal(tmp_path, load)
        assert f"put {', '.join(NAMES[present:])} into {folder}," in line
        assert "`dataset: digits`" in line
        assert "--data-root" in line


def test_the_line_says_what_is_there_and_where_it_was_looked_for(
    tmp_path: Path, contents: dict[str, bytes], no_network: None
) -> None:
    assert "there is nothing yet" in refusal(tmp_path / "nowhere")
    write(tmp_path, {"mnist_train.csv": b"", "mnist_test.csv": b""})
    line = refusal(tmp_path)
    assert f"{tmp_path} has mnist_test.csv, mnist_train.csv; looked for" in line
    for folder in ("MNIST/raw", "raw", "MNIST"):
        assert str(tmp_path / folder) in line


def test_a_data_root_that_is_a_file_is_refused_before_anything_is_downloaded(
    tmp_path: Path, contents: dict[str, bytes]
) -> None:
    (tmp_path / "data").write_text("")
    assert f"{tmp_path / 'data'}: is not a folder" in refusal(tmp_path / "data")


# --- the real one ---


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
