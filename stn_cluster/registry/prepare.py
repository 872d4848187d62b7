"""Preparation of data sets: their files are checked, or fetched, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stn_cluster.grid import Cell
from stn_cluster.registry.components import lookup


def prepare_datasets(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Checks, or fetches, the files of every data set that the cells use.

    Args:
        cells: what is to be trained.
        data_root: where data sets that live in files have them.

    Raises:
        UserError: they are not to be had, or damaged.
    """
    for name in dict.fromkeys(cell.dataset for cell in cells):
        prepare = lookup("dataset", name).load_prepare()
        if prepare is not None:
            prepare(data_root)
