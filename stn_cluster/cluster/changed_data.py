"""Data sets whose files have changed since cells of a store were trained on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stn_cluster.grid import Cell
from stn_cluster.registry import known_plugin
from stn_cluster.store import Store


def changed_datasets(cells: Sequence[Cell], store: Store) -> list[str]:
    """Names of data sets that have other contents than when cells like these were trained.

    Args:
        cells: the cells to train.
        store: the store.
    """
    from stn_cluster.store import load_results

    present = {
        cell.dataset: revision
        for cell in cells
        if isinstance(revision := cell.revisions.get(f"dataset:{cell.dataset}"), str)
        and known_plugin(revision) is None  # not one without files
    }
    if not present:
        return []
    rows = load_results(
        store,
        columns=["dataset", "label", "spec"],
        dataset=sorted(present),
        status="succeeded",
    )
    labels = {(cell.dataset, cell.label) for cell in cells}
    stored: dict[str, set[object]] = {}
    for dataset, label, spec in rows[["dataset", "label", "spec"]].itertuples(index=False):
        if (dataset, label) in labels:
            revision = json.loads(spec)["revisions"].get(f"dataset:{dataset}")
            stored.setdefault(dataset, set()).add(revision)
    return [name for name, known in sorted(stored.items()) if present[name] not in known]


def say_changed_data(cells: Sequence[Cell], store: str) -> None:
    """Says on stderr which data sets have changed, if the store is there already."""
    if not Store.is_at(store):
        return
    for name in changed_datasets(cells, Store.open(store)):
        print(
            f"data set {name!r} has changed since cells of it were trained: they are trained anew",
            file=sys.stderr,
            flush=True,
        )
