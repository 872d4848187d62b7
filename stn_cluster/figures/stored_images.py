"""Distorted test images of a stored cell, if its data are still what it was tested on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import find_dataset, load_plugins, with_present_name
from stn_cluster.store import Store

if TYPE_CHECKING:
    from stn_cluster.data.test_images import TestImages


def stored_images(
    spec: str,
    store: Store,
    data_root: Path | None,
    truth: NDArray[np.int64] | None,
    where: NDArray[np.intp] | None = None,
    images: int | None = None,
) -> TestImages:
    """Makes the test images of a cell.

    Args:
        spec: the cell's, as in `cells`.
        store: the store, which knows where plug-ins were.
        data_root: folder of the data sets' files.
        truth: classes that they must have; None: unknown.
        where: indices of the images that these are of; None: of all.
        images: number of test images, if these are not all.

    Raises:
        UserError: the cell is of another version, or the data set is missing or another one.
    """
    from stn_cluster.data.test_images import load_test_images  # imports torch

    try:
        cell = with_present_name(Cell.model_validate_json(spec))
        _ = cell.test_set
    except (ValueError, KeyError) as error:
        raise UserError("the stored spec is of another version") from error
    folders = [Path(job["folder"]) for job in store.jobs() if job.get("folder")]
    load_plugins(cell.plugins, list(dict.fromkeys(folders)))
    if data_root is None and find_dataset(cell.dataset, None).prepare is not None:
        raise UserError("name the folder of the data's files with --data-root")
    loaded = load_test_images(cell, data_root)
    if truth is None:
        return loaded
    same = len(loaded.labels) == (len(truth) if images is None else images)
    if not same or (loaded.labels[slice(None) if where is None else where] != truth).any():
        raise UserError(f"data set {cell.dataset} is not what its cells were tested on")
    return loaded
