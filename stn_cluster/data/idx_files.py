"""A data set in four files of MNIST's names and format, in `NAME/` or `NAME/raw/`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.data.label_classes import count_classes
from stn_cluster.data.mnist_files import BYTES, FILES
from stn_cluster.dataset_info import FRAME_PIXELS, DatasetInfo

if TYPE_CHECKING:
    from stn_cluster.data.datasets import Dataset

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (file.name for file in FILES)


@dataclass(frozen=True)
class IdxFiles:
    """The four files: see `FileSet`."""

    place: Path  # their folder
    by_name: tuple[tuple[str, Path], ...]  # those that are there

    @classmethod
    def of_name(cls, name: str, root: Path) -> Iterator[IdxFiles]:
        """The data sets of a name that are there: one for each folder."""
        for place in (root / name, root / name / "raw"):
            found = tuple(
                (file.name, path)
                for file in FILES
                if (path := next((p for n in file.names if (p := place / n).is_file()), None))
            )
            if found:
                yield cls(place, found)

    def files(self) -> list[Path]:
        """The four files."""
        found = dict(self.by_name)
        if absent := [file.name for file in FILES if file.name not in found]:
            raise ValueError(f"{self.place}: has no {', '.join(absent)}")
        return [found[file.name] for file in FILES]

    def describe(self) -> DatasetInfo:
        """Reads the labels, and the shape of the images."""
        images, train_labels, _, test_labels = self.files()
        height, width = _shape(images, axes=3)[1:]
        smallest, largest = FRAME_PIXELS
        if height != width or not smallest <= height <= largest:
            raise ValueError(
                f"{images}: has images of {height}x{width} pixels; expected square ones of "
                f"{smallest} to {largest}"
            )
        return DatasetInfo(frame=height, n_classes=self._classes(train_labels, test_labels))

    def prepare(self, root: Path) -> None:
        """Loads it once, so that what is wrong with a file is told."""
        self.load(root)

    def load(self, root: Path) -> Dataset:
        """Loads it."""
        from stn_cluster.data.datasets import from_arrays

        del root
        images, train_labels, test_images, test_labels = self.files()
        try:
            return from_arrays(
                read_values(images, axes=3),
                read_values(train_labels, axes=1),
                read_values(test_images, axes=3),
                read_values(test_labels, axes=1),
                n_classes=self._classes(train_labels, test_labels),
            )
        except ValueError as error:
            if str(error).startswith(str(self.place)):
                raise
            raise ValueError(f"{self.place}: {error}") from error

    def _classes(self, *labels: Path) -> int:
        values = [read_values(path, axes=1) for path in labels]
        for path, numbers in zip(labels, values, strict=True):
            if not len(numbers):
                raise ValueError(f"{path}: has no labels")
        try:
            return count_classes(*values)
        except ValueError as error:
            raise ValueError(f"{self.place}: {error}") from error


def _shape(path: Path, axes: int) -> tuple[int, ...]:
    with _opened(path) as file:
        return _header(path, file.read(4 + 4 * axes), axes)


def read_values(path: Path, axes: int) -> NDArray[np.uint8]:
    """Values of one file, gzipped or not.

    Raises:
        ValueError: it is no IDX file of bytes with so many axes; the message begins with its name.
    """
    try:
        with _opened(path) as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: is not a whole gzip file ({error})") from error
    shape = _header(path, content, axes)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path}: has {values.size:,} values; its header says {shape}")
    return values.reshape(shape)


def _header(path: Path, content: bytes, axes: int) -> tuple[int, ...]:
    numbers = [int.from_bytes(content[at : at + 4], "big") for at in range(0, 4 + 4 * axes, 4)]
    if len(content) < 4 + 4 * axes or numbers[0] != BYTES + axes:
        raise ValueError(
            f"{path}: is no IDX file of bytes with {axes} {'axes' if axes > 1 else 'axis'} (it "
            f"begins with {content[:4].hex(' ')})"
        )
    return tuple(numbers[1:])


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
