"""Preparation of data sets: checks their files, or downloads them, before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stn_cluster.grid import Cell
from stn_cluster.registry.dataset_lookup import find_dataset


def prepare_datasets(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Checks, or downloads, the files of every data set that the cells use.

    Args:
        cells: the cells to train.
        data_root: folder of the data sets' files.

    Raises:
        UserError: files are missing and cannot be downloaded, or are damaged.
    """
    for name in dict.fromkeys(cell.dataset for cell in cells):
        prepare = find_dataset(name, data_root).load_prepare()
        if prepare is not None:
            prepare(data_root)
