"""Plug-ins of cells to be trained or evaluated: they travel to the workers through the store."""

from __future__ import annotations

from collections.abc import Iterable

from stn_cluster.evaluations import WorkItem
from stn_cluster.registry import known_plugin, pack
from stn_cluster.store import Store


def publish_plugins(items: Iterable[WorkItem], store: Store) -> None:
    """Writes what the items' plug-ins bring to the store, unless it is there.

    Raises:
        UserError: a plug-in has been edited since the cells were made.
        StoreError: the store cannot be written to.
    """
    for digest in sorted({digest for item in items if item.plugins for digest in item.digests}):
        plugin = known_plugin(digest)
        if plugin is not None and not store.plugins.has(digest):
            store.plugins.write(digest, *pack(plugin))
