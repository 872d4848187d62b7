"""Sheets of a cell's test images, as its network saw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stn_cluster.data.test_images import TestImages, load_test_images
from stn_cluster.document.sheets import png_sheet
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.inference.stored_cells import find_cell
from stn_cluster.registry import find_dataset

KEPT = 3  # test sets in memory; one of MNIST on 42 x 42 pixels has 18 MB


def draw_images(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """PNG of some test images of a cell.

    Args:
        workplace: its store.
        request: key; attempt, or None; images: their indices.

    Raises:
        NotFoundError: there is no such cell.
        UserError: there is no such image, or the data set is missing or another one.
    """
    test = load_images(workplace, request["key"], request["attempt"])
    chosen = request["images"]
    total = len(test.labels)
    if wrong := [index for index in chosen if not 0 <= index < total]:
        raise UserError(f"index: {wrong[0]}: the test set has images 0 to {total - 1:,}", "index")
    return png_sheet(test.images[np.array(chosen, np.intp)])


def check_data(workplace: Workplace, cell: Cell) -> None:
    """Refuses to look for files of data sets where nobody said that they are, or to fetch them.

    Raises:
        UserError: the data set needs files, and no folder was named.
    """
    entry = find_dataset(cell.dataset, workplace.data_root)
    if workplace.data_root is None and entry.prepare is not None:
        raise UserError(
            f"images of {cell.dataset!r} need its files: name their folder with --data-root"
        )


def load_images(workplace: Workplace, key: str, attempt: str | None = None) -> TestImages:
    """Test set of a cell; the last few are kept."""
    cell = find_cell(workplace.store, key, None, attempt, {}).cell
    check_data(workplace, cell)
    kept: dict[str, TestImages] = workplace.kept.setdefault("test_images", {})
    found = kept.pop(cell.test_set, None) or load_test_images(cell, workplace.data_root)
    kept[cell.test_set] = found  # last, as the newest
    while len(kept) > KEPT:
        del kept[next(iter(kept))]
    return found
