"""What a store holds of cells: how they ended, and which are to be trained anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.cluster.job import reason
from stn_cluster.cluster.stored import StoredEnd, StoredEnds
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import load_plugins, lookup, with_present_name

if TYPE_CHECKING:
    from stn_cluster.store import Store


def stored_ends(store: Store) -> StoredEnds:
    """How each cell of the store ended, from all of its rows.

    Raises:
        StoreError: it cannot be read.
    """
    columns = ["key", "attempt", "status", "accepted_at", "test_error", "error"]
    rows = store.read("cells", columns=columns)
    times = rows["accepted_at"].cast("int64").to_pylist()
    others = [rows[name].to_pylist() for name in ("key", "attempt", "status")]
    numbers = rows["test_error"].to_pylist(), rows["error"].to_pylist()
    return StoredEnds(
        StoredEnd(key, attempt, time, error)
        if status == "succeeded"
        else StoredEnd(key, attempt, time, None, reason(text or ""))
        for key, attempt, status, time, error, text in zip(*others, times, *numbers, strict=True)
    )


def cells_to_rerun(store: str | Store, filters: Mapping[str, Any]) -> list[Cell]:
    """The cells of a store and of its jobs that match all filters, as present code trains them.

    Raises:
        UserError: no cell matches, or a component of one is no longer there.
        StoreError: there is no store, or it cannot be read.
    """
    import pandas as pd

    from stn_cluster.store import FILTERS, Store, load_results, select, shown

    opened = store if isinstance(store, Store) else Store.open(store)
    place = shown(opened.uri)
    rows = load_results(opened)[[*FILTERS, "label", "spec"]]
    ended = set(rows["key"])
    waiting = [
        {name: getattr(cell, name, None) for name in rows.columns}
        | {"spec": cell.model_dump_json()}
        for cell in opened.submitted()
        if cell.key not in ended
    ]
    rows = pd.concat([rows, pd.DataFrame(waiting, columns=rows.columns).astype(rows.dtypes)])
    if rows.empty:
        raise UserError(f"{place}: no cell has been submitted here, so there is none to rerun")
    folders = dict.fromkeys(Path(job["folder"]) for job in opened.jobs() if job.get("folder"))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            cell = _at_present(stored, list(folders))
        except ValidationError as error:
            raise StoreError(f"{place}: the spec of {label} cannot be read: {error}") from error
        cells[cell.key] = cell
    return list(cells.values())


def _at_present(cell: Cell, folders: Sequence[Path]) -> Cell:
    """The cell with its components' present revisions: their code may have changed since.

    Plug-ins are looked for in the folders of the configs that named them, too.
    """
    load_plugins(cell.plugins, folders)
    try:
        entries = [
            lookup("model", cell.model),
            lookup("transform", cell.transform),
            lookup("distortion", cell.distortion.partition(":")[0]),
            lookup("dataset", cell.dataset),
        ]
    except UserError as error:
        raise UserError(f"{cell.label}: {error}") from None
    revisions = {f"{entry.kind}:{entry.name}": entry.revision for entry in entries}
    return cell.model_copy(update={"revisions": revisions})
