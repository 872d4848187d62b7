"""Folders of images as people have them: right, or refused in one line that names the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.photographs import places, write_folders

from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.data.pictures import read_picture
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.registry import find_dataset

GREY = DatasetInfo(frame=16)
COLOUR = DatasetInfo(frame=16, channels=3, background=(10, 20, 30))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the data set 'signs': two classes."""
    write_folders(tmp_path, "signs", n_classes=2)
    (tmp_path / "signs" / "dataset.yaml").write_text("size: 16\n")
    return tmp_path


def load(root: Path) -> Dataset:
    prepare = find_dataset("signs", root).load_prepare()
    assert prepare is not None
    prepare(root)
    return load_dataset("signs", root)


def photograph(side: int = 16) -> Image.Image:
    return Image.fromarray(places(1, side, 1, seed=4)[0].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("train/place00/0.jpg", b"\xff\xd8\xff\xe0 torn", "cannot be read as an image|is no image"),
        ("train/place00/notes.txt", b"a note", "is no image"),
        ("test/place01/empty.png", b"", "is no image"),
        ("train/notes.txt", b"a note", "is no folder; images are in"),
        ("train/place00/more/1.png", b"", "is a folder; images are in"),
        ("test/place07/1.png", b"", "there is no such class in"),
        ("train/place02/.keep", b"", "is empty; a class has at least one image"),
    ],
)
def test_what_is_wrong_is_named(place: str, content: bytes, message: str, root: Path) -> None:
    file = root / "signs" / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    named = re.escape(str(root / "signs" / place.split("/")[0]))
    with pytest.raises(UserError, match=f"{named}.*: ({message})"):
        load(root)


def test_a_torn_photograph_is_named(root: Path) -> None:
    file = root / "signs" / "test" / "place01" / "1.jpg"
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(
        UserError, match=f"{re.escape(str(file))}: cannot be read as an image: .*[Tt]runc"
    ):
        load(root)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_that_is_absent_or_empty_is_named(part: str, root: Path) -> None:
    folder = root / "signs" / part
    folder.rename(root / "aside")
    with pytest.raises(UserError, match=f"{re.escape(str(folder))}: there is no such folder"):
        load(root)
    folder.mkdir()
    told = "has no images" if part == "test" else "has 0 folders; expected one for each of 2"
    with pytest.raises(UserError, match=f"{re.escape(str(folder))}: {told}"):
        load(root)


def test_what_is_harmless_is_taken(root: Path) -> None:
    before = load(root)
    signs = root / "signs"
    (signs / "train" / "Thumbs.db").write_bytes(b"x")
    (signs / "train" / "place00" / ".DS_Store").write_bytes(b"x")
    (signs / "train" / "place00" / "3.jpg").rename(signs / "train" / "place00" / "3.JPG")
    (signs / "train" / "place00" / "4.jpg").rename(signs / "train" / "place00" / "4")
    for file in (signs / "test" / "place01").iterdir():  # a class that is not tested
        file.unlink()
    after = load(root)
    assert torch.equal(after.train_images, before.train_images)
    assert torch.equal(after.train_labels, before.train_labels)
    assert after.test_labels.unique().tolist() == [0]
    assert after.n_classes == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: 7", "size: .* 8 .given: 7"),
        ("size: 16.5", "size: "),
        ("sise: 16", "unknown field 'sise': did you mean 'size'"),
        ("channels: 2", "channels: 1 or 3, not 2"),
        ("background: 256", "background: a whole number of 0 to 255"),
        ("background: [1, 2]", "background: .* each of 3 channels"),
        ("class_names: [one]", "class_names: 1, for 2 classes"),
        ("class_names: {stop: Stop}", "class_names: there is no class 'stop'"),
        ("size: [", "is no YAML"),
        ("- 16", "dataset.yaml: expected fields, as in .*, not \\[16\\]"),
    ],
)
def test_wrong_settings_are_named(text: str, message: str, root: Path) -> None:
    (root / "signs" / "dataset.yaml").write_text(text)
    with pytest.raises(UserError, match=f"dataset.yaml: .*{message}|{message}"):
        load(root)


def written(picture: Image.Image, file: Path, **options: object) -> Path:
    picture.save(file, **options)  # type: ignore[arg-type]
    return file


def test_16_bits_become_8(tmp_path: Path) -> None:
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    file = written(Image.fromarray(values), tmp_path / "deep.png")
    assert (read_picture(file, GREY) == np.arange(256).reshape(16, 16)).all()
    in_colour = read_picture(file, COLOUR)
    assert in_colour.shape == (3, 16, 16)
    assert (in_colour == np.arange(256).reshape(16, 16)).all()
    tiff = written(Image.fromarray(values), tmp_path / "deep.tif")
    assert (read_picture(tiff, GREY) == np.arange(256).reshape(16, 16)).all()


def test_a_palette_shows_its_colours(tmp_path: Path) -> None:
    picture = photograph().quantize(16)
    file = written(picture, tmp_path / "few.gif")
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert (read_picture(file, COLOUR) == expected).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background(mode: str, tmp_path: Path) -> None:
    if mode == "P":
        picture = Image.new("P", (16, 16), 0)
        picture.putpalette([1, 2, 3, 200, 100, 50])
        picture.paste(1, (0, 0, 16, 8))
        file = written(picture, tmp_path / "half.png", transparency=0)
    else:
        picture = photograph().convert(mode)
        alpha = Image.new("L", (16, 16), 255)
        alpha.paste(0, (0, 8, 16, 16))
        picture.putalpha(alpha)
        file = written(picture, tmp_path / "half.png")
    below = read_picture(file, COLOUR)[:, 8:]
    assert (below == np.array(COLOUR.background).reshape(3, 1, 1)).all()
    grey = DatasetInfo(frame=16, background=(77,))
    assert (read_picture(file, grey)[8:] == 77).all()


def test_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    upright = photograph(32)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    turned = written(
        upright.transpose(Image.Transpose.ROTATE_90), tmp_path / "turned.png", exif=exif
    )
    plain = written(upright, tmp_path / "plain.png")
    assert (read_picture(turned, COLOUR) == read_picture(plain, COLOUR)).all()


def test_the_middle_of_a_wide_picture_stays(tmp_path: Path) -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = np.asarray(photograph(32))
    file = written(Image.fromarray(wide), tmp_path / "wide.webp", lossless=True)
    middle = written(photograph(32), tmp_path / "middle.bmp")
    info = COLOUR.model_copy(update={"frame": 32})
    assert (read_picture(file, info) == read_picture(middle, info)).all()


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "F", "I"])
def test_other_modes_are_read_or_refused(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "other.tif"
    if mode in ("F", "I"):
        Image.fromarray(np.full((16, 16), 100_000, np.float32 if mode == "F" else np.int32)).save(
            file
        )
        with pytest.raises(ValueError, match=r"other\.tif: cannot be read as an image: its pixels"):
            read_picture(file, GREY)
        return
    photograph().convert(mode).save(file)
    assert read_picture(file, COLOUR).shape == (3, 16, 16)
