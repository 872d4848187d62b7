"""Data sets by name: registered ones, those that are files under the data root, and their
validation splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.registry.components import Entry, find, lookup

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
