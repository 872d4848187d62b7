"""Distorted test images of a cell, as they are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stn_cluster.data.cache import DataCache
from stn_cluster.data.distorted_images import TEST_BATCH, in_batches
from stn_cluster.dataset_info import WHITE
from stn_cluster.grid import Cell


@dataclass(frozen=True, eq=False)
class TestImages:
    """A cell's test set."""

    __test__ = False  # not a test, whatever pytest takes it for

    images: NDArray[np.uint8]  # (N, canvas, canvas), or (N, canvas, canvas, 3)
    labels: NDArray[np.int64]  # (N,) true classes
    class_names: tuple[str, ...] | None  # by class; None: a class is its number


def load_test_images(cell: Cell, root: Path | None) -> TestImages:
    """Distorts the test images of a cell, as its networks saw them, rounded to 8 bits.

    Args:
        cell: the cell.
        root: folder of the data sets' files.

    Raises:
        UserError: the data set is missing, damaged or another one.
    """
    test_set = DataCache(root, torch.device("cpu")).test(cell)
    batches = in_batches(test_set.images, TEST_BATCH)
    images = torch.cat([(WHITE * batch).round().to(torch.uint8) for batch in batches])
    return TestImages(
        images.permute(0, 2, 3, 1).squeeze(-1).numpy(),
        test_set.labels.numpy(),
        test_set.class_names,
    )
