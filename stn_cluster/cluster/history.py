"""What a store already holds of a job, and its cells to be trained anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """The cells of a store that match all filters, as the present code would train them.

    Raises:
        UserError: no cell matches, or a component of one is no longer there.
        StoreError: there is no store, or it cannot be read.
    """
    from stn_cluster.store import load_results, select

    rows = select(load_results(store), filters)
    cells = {}
    for label, spec in zip(rows["label"], rows["spec"], strict=True):
        try:
            cell = Cell.model_validate_json(spec)
        except ValidationError as error:
            raise StoreError(f"{store}: the spec of {label} cannot be read: {error}") from error
        cell = _at_present(cell)
        cells[cell.key] = cell
    if not cells:
        raise UserError(f"{store}: no cell has ended here yet, so there is none to rerun")
    return list(cells.values())


def _at_present(cell: Cell) -> Cell:
    """The cell with its components' present revisions: their code may have changed since."""
    load_plugins(cell.plugins)
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
