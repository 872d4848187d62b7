"""Published stores: those with a manifest. They are read, and nothing is trained into them."""

from __future__ import annotations

import os

from stn_cluster.errors import StoreError
from stn_cluster.store.files import Files

MANIFEST = "manifest.json"


def is_published(uri: str | os.PathLike[str]) -> bool:
    """Whether there is a published store at a path or URI.

    Raises:
        StoreError: it cannot be looked at.
    """
    files = Files.at(uri)
    # The root first: where it is out of reach, the error names it.
    return files.is_folder() and files.is_file(MANIFEST)


def refuse_published(uri: str | os.PathLike[str]) -> None:
    """For whoever would train into a store, before anything is made.

    Raises:
        StoreError: it is a published one.
    """
    if is_published(uri):
        raise StoreError(
            f"{Files.at(uri).where()}: is a published store (it has a {MANIFEST}), and nothing is "
            "trained into it; name another with --store, or with rerun's --into"
        )
