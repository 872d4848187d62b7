"""Data sets by name: registered ones, those that are files under the data root, and their
validation splits."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import Cell
from stn_cluster.registry.components import Entry, find, load_target, names
from stn_cluster.registry.file_digests import digest_files

DEFAULT_ROOT = Path("data")
VALIDATION = "-validation"  # ends the name of a data set's validation split
# (name, root) -> Entry | None and (root) -> names: see `stn_cluster.data.file_sets`.
_FIND_FILES, _NAMES = "stn_cluster.data.file_sets:find", "stn_cluster.data.file_sets:names_in"


@dataclass(frozen=True)
class FoundDataset:
    """A data set as it is on this machine."""

    entry: Entry
    info: DatasetInfo  # what its images are
    revision: int | str  # what its contents are known by: a number, or a digest


def find_dataset(name: str, data_root: Path | None = None) -> Entry:
    """Finds a data set by name.

    Args:
        name: the name of a registered one, or of files under the data root; `X-validation` is a
            split of the training images of X.
        data_root: folder of the data sets' files; None: `data`.

    Raises:
        UserError: there is none, and the message lists all names and suggests the most similar
            one; there are two; or its files are incomplete.
    """
    root = data_root or DEFAULT_ROOT
    if (entry := _find(name, root)) is not None:
        return entry
    base = name.removesuffix(VALIDATION)
    if base != name and (whole := _find(base, root)) is not None:
        return replace(whole, name=name, whole=base)
    known = [*names("dataset"), *load_target(_NAMES)(root)]
    raise UserError(
        f"{unknown('dataset', name, known)}; or {name}.npz, {name}/train/CLASS/* with "
        f"{name}/test/CLASS/*, or MNIST's four files in {name}/, in the data root {root}"
    )


def _find(name: str, root: Path) -> Entry | None:
    if (entry := find("dataset", name)) is not None:
        return entry
    if not re.fullmatch(r"[^\W_][\w.+-]*", name):  # no path
        return None
    found: Entry | None = load_target(_FIND_FILES)(name, root)
    return found


def found_dataset(name: str, data_root: Path | None = None) -> FoundDataset:
    """Finds a data set, and what its files on this machine hold.

    Raises:
        UserError: see `find_dataset`; or a file cannot be read.
    """
    entry = find_dataset(name, data_root)
    return FoundDataset(entry, entry.info, _revision(entry, data_root or DEFAULT_ROOT))


def describe_dataset(name: str, data_root: Path | None = None) -> DatasetInfo:
    """Description of a data set's images, without loading them.

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
    if found.entry.files is None:
        raise UserError(
            f"dataset:{cell.dataset} has been edited since this run began; run it again"
        )
    raise UserError(
        f"data set {cell.dataset!r}: its files on {socket.gethostname()}, in the data root "
        f"{data_root or DEFAULT_ROOT}, are not those that this cell was made for (they are "
        f"{found.revision}, not {expected}): copy the same files there, or run it again"
    )


def _revision(entry: Entry, root: Path) -> int | str:
    """An entry's own revision, or the digest of its files; a plug-in's is of both."""
    if entry.files is None:
        return entry.revision
    digest = digest_files(entry.whole or entry.name, root, _files(entry, entry.files, root))
    return digest if entry.source is None else f"{entry.revision}+{digest}"  # see `Cell.digests`


def _files(entry: Entry, given_by: Callable[[Path], Any], root: Path) -> list[Path]:
    """The files of a data set; of a folder, all that are in it."""
    try:
        given = [root / path for path in given_by(root)]
    except UserError:
        raise
    except Exception as error:  # a plug-in's function may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"data set {entry.name!r}: its `files` fail: {reason}") from error
    files = []
    for path in given:
        within = path.rglob("*") if path.is_dir() else [path]
        files += [file for file in within if not file.is_dir()]
    return files
