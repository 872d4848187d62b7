"""The number of classes of a data set whose labels are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_classes(train_labels: NDArray[Any], test_labels: NDArray[Any]) -> int:
    """One more than the largest label of a training image, as labels are numbers from 0.

    Args:
        train_labels, test_labels: whole numbers, (N,) and (M,).

    Raises:
        ValueError: it is 1, or a test label is no training image's; the message names the part.
    """
    classes = int(train_labels.max()) + 1
    if classes < 2:
        raise ValueError("train_labels: all are 0; a data set has at least 2 classes")
    unknown = np.setdiff1d(test_labels, train_labels)
    if len(unknown):
        raise ValueError(f"test_labels: no training image is of class {int(unknown[0])}")
    return classes
