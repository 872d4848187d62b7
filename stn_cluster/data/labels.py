"""Labels of a data set's test images, for stores that do not have them themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stn_cluster.data.datasets import load_dataset


def load_test_labels(name: str, root: Path | None) -> tuple[NDArray[np.uint16], int]:
    """True class of each image of a data set's distorted test sets, and the versions of each image.

    Args:
        name: of a registered data set.
        root: folder of data files.

    Raises:
        UserError: no such data set, or its files are missing or damaged.
    """
    data = load_dataset(name, root)
    labels = np.tile(data.test_labels.numpy().astype(np.uint16), data.test_repeats)
    return labels, data.test_repeats
