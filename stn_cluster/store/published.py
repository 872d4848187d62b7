"""Published stores, which have a manifest: they are read-only for training."""

from __future__ import annotations

import os
import shlex

from stn_cluster.errors import StoreError
from stn_cluster.store.files import Files

MANIFEST = "manifest.json"
NO_RESULTS = "to which no results are added; name another with --store, or with rerun's --into"


def is_published(uri: str | os.PathLike[str]) -> bool:
    """Whether there is a published store at a path or URI.

    Raises:
        StoreError: it cannot be read.
    """
    files = Files.at(uri)
    # The root first: if it cannot be reached, the error names it.
    return files.is_folder() and files.is_file(MANIFEST)


def rerun_command(name: str, key: str, published: bool) -> str:
    """Command that trains a cell again: of a published store into another one.

    Args:
        name: of the store, for people.
        key: the cell's key.
        published: whether the store is.
    """
    into = " --into DIR" if published else ""
    return f"stn-cluster rerun --store {shlex.quote(name)} --key {key}{into}"


def refuse_published(uri: str | os.PathLike[str], reason: str = NO_RESULTS) -> None:
    """Checks that a store may be changed.

    Args:
        uri: its path or URI.
        reason: what is not done to a published store, for people.

    Raises:
        StoreError: it is a published store.
    """
    if is_published(uri):
        raise StoreError(
            f"{Files.at(uri).where()}: is a published store (it has a {MANIFEST}), {reason}"
        )
