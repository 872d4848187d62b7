"""Data sets by name: registered ones, those that are files under the data root, and their
validation splits."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path

from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry.components import Entry, find, lookup

DEFAULT_ROOT = Path("data")
VALIDATION = "-validation"  # ends the name of a data set's validation split


@dataclass(frozen=True)
class FoundDataset:
    """A data set as it is on this machine."""

    entry: Entry
    info: DatasetInfo  # what its images are
    revision: int | str  # what its contents are known by


def find_dataset(name: str, data_root: Path | None = None) -> Entry:
    """Finds a data set by name.

    Args:
        name: the name; `X-validation` is a split of the training images of X.
        data_root: folder of the data sets' files; None: `data`.

    Raises:
        UserError: there is none; the message lists all names and suggests the most similar one.
    """
    if (entry := find("dataset", name)) is not None:
        return entry
    base = name.removesuffix(VALIDATION)
    if base not in (name, "") and (whole := find("dataset", base)) is not None:
        return replace(whole, name=name, whole=base)
    return lookup("dataset", name)


def found_dataset(name: str, data_root: Path | None = None) -> FoundDataset:
    """Finds a data set, and what its files on this machine hold.

    Raises:
        UserError: see `find_dataset`.
    """
    entry = find_dataset(name, data_root)
    return FoundDataset(entry, entry.info, entry.revision)


def describe_dataset(name: str, data_root: Path | None = None) -> DatasetInfo:
    """What a data set's images are, without loading them.

    Raises:
        UserError: see `find_dataset`.
    """
    return find_dataset(name, data_root).info


def check_dataset(cell: Cell, data_root: Path | None) -> None:
    """Checks that a cell's data set is, on this machine, the one that its key stands for.

    Raises:
        UserError: it has been edited since the cell was resolved, or its files are others here.
    """
    found = found_dataset(cell.dataset, data_root)
    expected = cell.revisions[f"dataset:{cell.dataset}"]
    if found.revision == expected:
        return
    if found.entry.plugin is not None and found.entry.revision == found.revision:
        raise UserError(
            f"dataset:{cell.dataset} has been edited since this run began; run it again"
        )
    raise UserError(
        f"data set {cell.dataset!r}: the files on {socket.gethostname()} under "
        f"{data_root or DEFAULT_ROOT} are not those that this run began with (they are "
        f"{found.revision}, not {expected}): copy them there, or run it again"
    )
