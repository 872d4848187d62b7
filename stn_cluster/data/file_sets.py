"""Data sets that are files under the data root: an archive of arrays, folders of images, IDX files.

They are described without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from stn_cluster.data.array_archive import ArrayArchive
from stn_cluster.data.idx_files import IdxFiles
from stn_cluster.data.image_folder import ImageFolder
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError, first_error
from stn_cluster.registry.components import Entry

if TYPE_CHECKING:
    from stn_cluster.data.datasets import Dataset

T = TypeVar("T")


class FileSet(Protocol):
    """Files that are one data set. Its methods raise ValueError if they are not what they should
    be; the message begins with the file."""

    @property
    def place(self) -> Path:
        """The file, or the folder, that it is known by."""

    def files(self) -> Sequence[Path]:
        """All files that it is loaded from."""

    def describe(self) -> DatasetInfo:
        """Size, channels, classes and background of its images."""

    def prepare(self, root: Path) -> None:
        """Does what takes long, once, and tells what is wrong with a file."""

    def load(self, root: Path) -> Dataset:
        """Loads it."""


def find(name: str, root: Path) -> Entry | None:
    """The data set of a name, if there are files of it.

    Raises:
        UserError: there are two of that name, or its files are incomplete or not what they should
            be; the message names the file.
    """
    found = _told(lambda: list(_of_name(name, root)))
    if len(found) > 1:
        several = " and ".join(str(one.place) for one in found)
        raise UserError(f"data set {name!r}: {several}: only one of them can have this name")
    if not found:
        return None
    [one] = found
    return Entry(
        kind="dataset",
        name=name,
        target=lambda given: _told(lambda: one.load(given or root)),
        info=_told(one.describe),
        # As seen from the root, which may itself be relative to the working directory.
        files=lambda given: _told(lambda: [file.relative_to(root) for file in one.files()]),
        prepare=lambda given: _told(lambda: one.prepare(given or root)),
    )


def names_in(root: Path) -> list[str]:
    """Names of the data sets that are files in a data root, as far as that can be told."""
    try:
        there = {path.stem if path.suffix == ".npz" else path.name for path in root.iterdir()}
        return [name for name in sorted(there) if any(_of_name(name, root))]
    except OSError:  # it is not there, or may not be listed
        return []


def _of_name(name: str, root: Path) -> Iterator[FileSet]:
    yield from ArrayArchive.of_name(name, root)
    yield from ImageFolder.of_name(name, root)
    yield from IdxFiles.of_name(name, root)


def _told(read: Callable[[], T]) -> T:
    """Result of reading files; an error of theirs becomes a line that names the file."""
    try:
        return read()
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:  # a ValueError, too
        first, reason = first_error(error.errors())
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{error.title}: {where}: {reason} (given: {first['input']!r})") from error
    except ValueError as error:
        raise UserError(str(error)) from error
