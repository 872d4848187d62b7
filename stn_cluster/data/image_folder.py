"""A data set in folders of images: `NAME/train/CLASS/*` and `NAME/test/CLASS/*`.

Images are decoded once, into arrays beside the data root's digests, and these are memory-mapped.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stn_cluster.dataset_info import (
    CHANNELS,
    FRAME_PIXELS,
    MAX_CLASSES,
    DatasetInfo,
    for_each_channel,
)
from stn_cluster.errors import first_error
from stn_cluster.registry.file_digests import derived_folder, digest_files
from stn_cluster.yaml_core import NOT_YAML, read_yaml

if TYPE_CHECKING:
    from stn_cluster.data.datasets import Dataset

SETTINGS = "dataset.yaml"
PARTS = ("train", "test")
LAYOUT = 1  # of the decoded arrays
LITTER = ("thumbs.db", "desktop.ini")  # what systems leave beside images
MANY = 2_000  # images: that decoding takes a while is said


class FolderSettings(BaseModel):
    """Fields of `dataset.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=FRAME_PIXELS[0], le=FRAME_PIXELS[1], strict=True)] = 64
    channels: Annotated[int, Field(strict=True)] = 3
    background: int | tuple[int, ...] = 0
    # Shown instead of the folders' names: by folder, or one for each in their order.
    class_names: dict[str, str] | tuple[str, ...] = {}


@dataclass(frozen=True)
class ImageFolder:
    """Folders of images: see `FileSet`."""

    place: Path

    @classmethod
    def of_name(cls, name: str, root: Path) -> Iterator[ImageFolder]:
        """The data set of a name, if it is there."""
        place = root / name
        if any((place / part).is_dir() for part in PARTS):
            yield cls(place)

    def files(self) -> list[Path]:
        """All images, and the settings."""
        settings = self.place / SETTINGS
        images = [path for part in PARTS for _, path in self._images(part)]
        return [*([settings] if settings.is_file() else []), *images]

    def describe(self) -> DatasetInfo:
        """Reads the settings and the names of the files."""
        settings = self._settings()
        return DatasetInfo(
            frame=settings.size,
            channels=settings.channels,
            n_classes=len(self._classes()),
            background=for_each_channel(settings.background, settings.channels),
        )

    def prepare(self, root: Path) -> None:
        """Decodes the images, unless that has been done."""
        self._decoded(root)

    def load(self, root: Path) -> Dataset:
        """Loads it: the images stay on disk until they are looked at."""
        from stn_cluster.data.datasets import from_arrays

        info, decoded = self.describe(), self._decoded(root)
        classes = self._classes()
        numbers = {name: number for number, name in enumerate(classes)}
        labels = {
            part: np.array([numbers[name] for name, _ in self._images(part)], np.int64)
            for part in PARTS
        }
        # "c": torch wants memory that it may write to; what it wrote would not get to the file.
        images = {part: np.load(decoded / f"{part}.npy", mmap_mode="c") for part in PARTS}
        return from_arrays(
            images["train"],
            labels["train"],
            images["test"],
            labels["test"],
            n_classes=len(classes),
            class_names=self._shown(classes),
            background=info.background,
        )

    def _settings(self) -> FolderSettings:
        path = self.place / SETTINGS
        try:
            given = read_yaml(path.read_text("utf-8")) if path.is_file() else None
        except (*NOT_YAML, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(given, dict | None):
            raise ValueError(f"{path}: expected fields, as in `size: 32`, not {given!r}")
        try:
            settings = FolderSettings.model_validate(given or {})
        except ValidationError as error:
            first, reason = first_error(error.errors(), lambda at: FolderSettings.model_fields)
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: {where}: {reason} (given: {first['input']!r})") from error
        numbers = for_each_channel(settings.background, settings.channels)
        if settings.channels not in CHANNELS:
            raise ValueError(f"{path}: channels: 1 or 3, not {settings.channels}")
        if len(numbers) != settings.channels or not all(0 <= n <= 255 for n in numbers):
            raise ValueError(
                f"{path}: background: a whole number of 0 to 255, or one for each of "
                f"{settings.channels} channels, not {settings.background}"
            )
        return settings

    def _classes(self) -> list[str]:
        """Names of the folders in train/, in order: a class is its place among them."""
        names = [folder.name for folder in self._folders("train")]
        if not 2 <= len(names) <= MAX_CLASSES:
            raise ValueError(
                f"{self.place / 'train'}: has {len(names)} folders; expected one for each of 2 to "
                f"{MAX_CLASSES:,} classes"
            )
        for folder in self._folders("test"):
            if folder.name not in names:
                raise ValueError(f"{folder}: there is no such class in {self.place / 'train'}")
        return names

    def _shown(self, classes: Sequence[str]) -> tuple[str, ...]:
        given = self._settings().class_names
        where = f"{self.place / SETTINGS}: class_names"
        if isinstance(given, tuple):
            if len(given) != len(classes):
                raise ValueError(f"{where}: {len(given)}, for {len(classes)} classes")
            return given
        if absent := sorted(set(given) - set(classes)):
            raise ValueError(f"{where}: there is no class {absent[0]!r}")
        return tuple(given.get(name, name) for name in classes)

    def _folders(self, part: str) -> list[Path]:
        """The classes' folders of train/ or test/."""
        within = self.place / part
        if not within.is_dir():
            raise ValueError(f"{within}: there is no such folder")
        found = []
        for path in sorted(within.iterdir(), key=lambda path: path.name):
            if _is_litter(path):
                continue
            if not path.is_dir():
                raise ValueError(f"{path}: is no folder; images are in {within}/CLASS/")
            found.append(path)
        return found

    def _images(self, part: str) -> list[tuple[str, Path]]:
        """Class and file of each image of train/ or test/, in order."""
        found = []
        for folder in self._folders(part):
            files = sorted((p for p in folder.iterdir() if not _is_litter(p)), key=lambda p: p.name)
            if part == "train" and not files:
                raise ValueError(f"{folder}: is empty; a class has at least one image")
            for file in files:
                if file.is_dir():
                    raise ValueError(f"{file}: is a folder; images are in {folder}/ itself")
            found += [(folder.name, file) for file in files]
        if not found:
            raise ValueError(f"{self.place / part}: has no images")
        return found

    def _decoded(self, root: Path) -> Path:
        """The folder of the decoded arrays, which is made if it is not there."""
        self._shown(self._classes())  # what is wrong is told before it takes long
        name, info = self.place.name, self.describe()
        digest = digest_files(name, root, self.files())
        derived = derived_folder(root)
        folder = derived / f"{name}-{digest}-{LAYOUT}"
        if folder.is_dir():
            return folder
        derived.mkdir(parents=True, exist_ok=True)
        with FileLock(derived / f"{name}.lock"):
            if not folder.is_dir():
                draft = derived / f"{name}.draft"
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                for part in PARTS:
                    files = [path for _, path in self._images(part)]
                    _decode(files, draft / f"{part}.npy", info)
                for old in derived.glob(f"{name}-*-{LAYOUT}"):
                    if len(old.name) == len(folder.name):
                        shutil.rmtree(old, ignore_errors=True)
                draft.rename(folder)
        return folder


def _is_litter(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in LITTER


def _decode(files: Sequence[Path], place: Path, info: DatasetInfo) -> None:
    """Decodes images into an array file, (N, H, W) or (N, 3, H, W) uint8."""
    from stn_cluster.data.pictures import read_picture

    if len(files) > MANY:
        print(f"{place.parent}: decodes {len(files):,} images", file=sys.stderr, flush=True)
    shape = (info.frame, info.frame) if info.channels == 1 else (3, info.frame, info.frame)
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(
        place, mode="w+", dtype=np.uint8, shape=(len(files), *shape)
    )
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(files), MANY):
            some = files[first : first + MANY]
            try:
                decoded = pool.map(lambda file: read_picture(file, info), some)
                for number, picture in enumerate(decoded, first):
                    array[number] = picture
            except ValueError:
                pool.shutdown(cancel_futures=True)
                raise
    array.flush()
