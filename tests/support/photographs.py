"""Data sets of real pictures, cut out of the two photographs that scikit-learn ships."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILES = ("china.jpg", "flower.jpg")
ACROSS = 22  # places in a row of one photograph, of which a class is one


def photographs() -> list[Image.Image]:
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "images"
    return [Image.open(folder / name).convert("RGB") for name in FILES]


def places(n_classes: int, frame: int, each: int, seed: int) -> NDArray[np.uint8]:
    """Pictures of places in the photographs, (n_classes * each, 3, frame, frame), class by class.

    A class is a place; its pictures are moved by up to 6 pixels and are of other brightness.
    """
    draws, pictures = np.random.default_rng(seed), []
    whole = photographs()
    for place in range(n_classes):
        photograph = whole[place % 2]
        row, column = divmod(place // 2, ACROSS)
        for _ in range(each):
            x = 10 + column * 26 + draws.integers(-6, 7)
            y = 20 + (7 * column % 5) * 60 + row * 90 + draws.integers(-6, 7)
            cut = photograph.crop((x, y, x + 64, y + 64)).resize((frame, frame))
            bright = np.asarray(cut, np.float64) * draws.uniform(0.8, 1.1)
            pictures.append(bright.clip(0, 255).round().astype(np.uint8).transpose(2, 0, 1))
    return np.stack(pictures)


def write_archive(
    root: Path, name: str, n_classes: int, frame: int, train: int = 12, test: int = 4
) -> None:
    """Writes NAME.npz of places: `train` and `test` pictures of each class."""
    root.mkdir(parents=True, exist_ok=True)
    np.savez(
        root / f"{name}.npz",
        train_images=places(n_classes, frame, train, seed=0),
        train_labels=np.repeat(np.arange(n_classes), train),
        test_images=places(n_classes, frame, test, seed=1),
        test_labels=np.repeat(np.arange(n_classes), test),
    )


def write_folders(root: Path, name: str, n_classes: int, train: int = 6, test: int = 3) -> None:
    """Writes NAME/{train,test}/CLASS/*.jpg of places, 64 pixels high and 80 wide."""
    for part, each, seed in (("train", train, 0), ("test", test, 1)):
        pictures = places(n_classes, 64, each, seed).transpose(0, 2, 3, 1)
        for number, picture in enumerate(pictures):
            folder = root / name / part / f"place{number // each:02}"
            folder.mkdir(parents=True, exist_ok=True)
            wide = np.pad(picture, ((0, 0), (8, 8), (0, 0)))
            Image.fromarray(wide).save(folder / f"{number % each}.jpg", quality=95)
