"""The data set `digits`: scikit-learn's 1,797 real handwritten digits, which need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stn_cluster.data.datasets import Dataset
from stn_cluster.dataset_info import FRAME
from stn_cluster.errors import UserError

DIGIT = 20  # pixels: the digit is centred in the frame with an empty margin, as in MNIST
FILE = "datasets/data/digits.csv.gz"  # within scikit-learn: 64 pixels of 0 to 16, and the label
TEST_EVERY = 5
TEST_REPEATS = 10


def digits(root: Path | None = None) -> Dataset:
    """8x8 digits scaled to 20x20 and centred in 28x28; every fifth of a class is a test image.

    Each test image has ten distorted versions, which gives a test set of 3,600 images.
    """
    del root  # the data is part of scikit-learn
    pixels, labels = read()
    small = torch.from_numpy(pixels).float().view(-1, 1, 8, 8)
    large = F.interpolate(small, size=(DIGIT, DIGIT), mode="bilinear", align_corners=False)
    margin = (FRAME - DIGIT) // 2
    framed = F.pad(large.squeeze(1) * (255 / 16), (margin,) * 4)
    images = framed.round().clamp(0, 255).to(torch.uint8)
    targets = torch.from_numpy(labels).long()
    by_class = np.argsort(labels, kind="stable")
    is_test = np.zeros(len(labels), bool)
    is_test[by_class[::TEST_EVERY]] = True
    train, test = ~is_test, is_test
    return Dataset(
        images[train], targets[train], images[test], targets[test], test_repeats=TEST_REPEATS
    )


def read() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reads scikit-learn's digits, (1797, 64) of 0 to 16, and their labels, (1797,).

    The same as its `load_digits`, which takes more than a second to import in every worker.
    """
    spec = find_spec("sklearn")  # does not import it
    if spec is None or spec.origin is None:
        raise UserError("data set 'digits': scikit-learn, which it is part of, is not installed")
    table = np.loadtxt(Path(spec.origin).parent / FILE, delimiter=",", dtype=np.int64)
    return table[:, :-1], table[:, -1]
