"""Trained networks that are kept in memory, those that were used last."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from torch import nn

from stn_cluster.drawing.tasks import Workplace
from stn_cluster.grid import Cell
from stn_cluster.inference.stored_cells import StoredCell, find_cell
from stn_cluster.inference.trained_models import load_model

MOST = 128  # networks
MOST_BYTES = 2**30  # of their parameters


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network."""

    stored: StoredCell
    model: nn.Module
    nbytes: int

    @property
    def cell(self) -> Cell:
        """The cell that it was trained as."""
        return self.stored.cell


def network(workplace: Workplace, key: str) -> Network:
    """The network of a cell's current result.

    Raises:
        NotFoundError: there is no such cell, or its weights are not here.
        UserError: it cannot be built here.
    """
    store = workplace.store
    stored = store.remember(("cell", key), lambda: find_cell(store, key, None, None, {}))
    kept: dict[tuple[str, str], Network] = workplace.kept.setdefault("networks", {})
    name = (key, stored.attempt)
    found = kept.pop(name, None)
    if found is None:
        with warnings.catch_warnings(action="ignore"):  # on attributes: they are the command's
            model = load_model(store, key, data_root=workplace.data_root)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        found = Network(stored, model, size)
    kept[name] = found  # last, as the newest
    while len(kept) > MOST or sum(one.nbytes for one in kept.values()) > MOST_BYTES:
        oldest = next(iter(kept))
        if oldest == name:
            break
        del kept[oldest]
    return found
