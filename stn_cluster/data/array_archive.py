"""A data set in one file, `NAME.npz`: images and labels as NumPy arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stn_cluster.data.label_classes import count_classes
from stn_cluster.dataset_info import CHANNELS, MAX_CLASSES, DatasetInfo, image_hint
from stn_cluster.errors import first_error

if TYPE_CHECKING:
    from stn_cluster.data.datasets import Dataset

PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class ArrayArchive:
    """An archive of NumPy: see `FileSet`."""

    place: Path

    @classmethod
    def of_name(cls, name: str, root: Path) -> Iterator[ArrayArchive]:
        """The data set of a name, if it is there."""
        place = root / f"{name}.npz"
        if place.is_file():
            yield cls(place)

    def files(self) -> list[Path]:
        """The archive."""
        return [self.place]

    def describe(self) -> DatasetInfo:
        """Reads the labels, and the shape of the images."""
        with self._opened() as archive:
            shape, dtype = _header(archive, PARTS[0])
            classes = _classes(*(_array(archive, part) for part in PARTS[1::2]))
            channels = shape[1] if len(shape) == 4 else 1
            if len(shape) not in (3, 4) or channels not in CHANNELS or dtype.kind not in "iu":
                raise ValueError(
                    f"{PARTS[0]}: (N, H, W) or (N, C, H, W) of whole numbers, 0 to 255, where C is "
                    f"1 or 3, not {shape} of {dtype}{image_hint(shape, dtype.kind)}"
                )
            return DatasetInfo(
                frame=shape[-1],
                channels=channels,
                n_classes=classes,
                background=background_of(_optional(archive, "background"), channels),
            )

    def prepare(self, root: Path) -> None:
        """Loads it once, so that what is wrong with an array is told."""
        self.load(root)

    def load(self, root: Path) -> Dataset:
        """Loads it."""
        from stn_cluster.data.datasets import from_arrays

        del root
        with self._opened() as archive:
            names = _optional(archive, "class_names")
            background = _optional(archive, "background")
            arrays = {part: _array(archive, part) for part in PARTS}
            return from_arrays(
                **arrays,
                n_classes=_classes(*(arrays[part] for part in PARTS[1::2])),
                class_names=None if names is None else tuple(map(str, names.tolist())),
                background=0 if background is None else tuple(np.ravel(background).tolist()),
            )

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """Names the file in errors."""
        try:
            with zipfile.ZipFile(self.place) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{self.place}: is no whole .npz file ({error})") from error
        except NotImplementedError as error:  # a compression that Python does not know
            raise ValueError(f"{self.place}: cannot be read: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self.place}: {_reason(error)}") from error


def background_of(given: Any, channels: int) -> tuple[int, ...]:
    """The background as one number for each channel; None: 0."""
    numbers = tuple(np.ravel(0 if given is None else given).tolist())
    return numbers * channels if len(numbers) == 1 else numbers


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first, reason = first_error(error.errors())
    return f"{'.'.join(map(str, first['loc'])) or 'images'}: {reason} (given: {first['input']!r})"


def _header(archive: zipfile.ZipFile, part: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array."""
    with _member(archive, part) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, part: str) -> NDArray[Any]:
    with _member(archive, part) as file:
        try:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{part}: {error}") from error
    return array


def _optional(archive: zipfile.ZipFile, part: str) -> NDArray[Any] | None:
    return _array(archive, part) if f"{part}.npy" in archive.namelist() else None


def _classes(*labels: NDArray[Any]) -> int:
    for part, numbers in zip(PARTS[1::2], labels, strict=True):
        if numbers.dtype.kind not in "iufb" or numbers.ndim != 1 or not len(numbers):
            raise ValueError(
                f"{part}: one whole number for each image, (N,), and at least one, not "
                f"{numbers.shape} of {numbers.dtype}"
            )
        smallest, largest = numbers.min(), numbers.max()
        if not (smallest >= 0 and largest < MAX_CLASSES):  # also NaN
            raise ValueError(f"{part}: from 0 to {MAX_CLASSES - 1:,}, not {smallest} to {largest}")
    return count_classes(*labels)


def _member(archive: zipfile.ZipFile, part: str) -> IO[bytes]:
    try:
        return archive.open(f"{part}.npy")
    except KeyError:
        there = ", ".join(sorted(name.removesuffix(".npy") for name in archive.namelist()))
        raise ValueError(
            f"has no {part}; expected {', '.join(PARTS)} (there is {there or 'nothing'})"
        ) from None
