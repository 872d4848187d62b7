"""Plug-ins of cells to be trained: they travel to the workers through the store."""

from __future__ import annotations

from collections.abc import Iterable

from stn_cluster.grid import Cell
from stn_cluster.registry import known_plugin, pack
from stn_cluster.store import Store


def publish_plugins(cells: Iterable[Cell], store: Store) -> None:
    """Writes what the cells' plug-ins bring to the store, unless it is there.

    Raises:
        UserError: a plug-in has been edited since the cells were made.
        StoreError: the store cannot be written to.
    """
    revisions = {revision for cell in cells if cell.plugins for revision in cell.revisions.values()}
    for digest in sorted(revision for revision in revisions if isinstance(revision, str)):
        plugin = known_plugin(digest)
        if plugin is not None and not store.has_plugin(digest):
            store.write_plugin(digest, *pack(plugin))
