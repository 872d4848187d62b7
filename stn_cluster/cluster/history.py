"""What a store already holds of a job, and its cells to be trained anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.cluster.job import CellStatus, State
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import load_plugins, lookup

if TYPE_CHECKING:
    from stn_cluster.store import Store


def stored_cells(cells: Iterable[Cell], store: Store | None) -> tuple[CellStatus, ...]:
    """Each cell as the store has it: succeeded, or still to be trained (as all are without one)."""
    if store is None:
        return tuple(_status(cell, None) for cell in cells)
    rows = store.results(latest=True)
    rows = rows[rows["status"] == State.SUCCEEDED.value]
    errors = dict(zip(rows["key"], rows["test_error"], strict=True))
    return tuple(_status(cell, errors.get(cell.key)) for cell in cells)


def _status(cell: Cell, test_error: float | None) -> CellStatus:
    fresh = CellStatus(cell, iterations=int(str(cell.settings["iterations"])))
    if test_error is None:
        return fresh
    state = State.SUCCEEDED
    return fresh.now(state, step=fresh.iterations, test_error=test_error, stored=True)


def cells_to_rerun(store: str, filters: Mapping[str, Any]) -> list[Cell]:
    """The cells of a store and of its jobs that match all filters, as present code trains them.

    Raises:
        UserError: no cell matches, or a component of one is no longer there.
        StoreError: there is no store, or it cannot be read.
    """
    import pandas as pd

    from stn_cluster.store import FILTERS, Store, load_results, select

    opened = Store.open(store)
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
        raise UserError(f"{store}: no cell has been submitted here, so there is none to rerun")
    folders = dict.fromkeys(Path(job["folder"]) for job in opened.jobs() if job.get("folder"))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            cell = _at_present(Cell.model_validate_json(spec), list(folders))
        except ValidationError as error:
            raise StoreError(f"{store}: the spec of {label} cannot be read: {error}") from error
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
