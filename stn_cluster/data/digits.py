"""The data set `digits`: scikit-learn's 1,797 real handwritten digits, which need no download."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from stn_cluster.data.datasets import FRAME, Dataset

DIGIT = 20  # pixels: the digit is centred in the frame with an empty margin, as MNIST's are
TEST_FRACTION = 0.2
TEST_REPEATS = 10


def digits(root: Path | None = None) -> Dataset:
    """8x8 digits scaled to 20x20 in the middle of 28x28; a fixed, stratified fifth is the test set.

    Each test image is distorted ten ways, so that 3,600 distorted images are tested on.
    """
    del root  # it ships inside scikit-learn
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # 0 to 16
    small = torch.from_numpy(pixels).float().view(-1, 1, 8, 8)
    large = F.interpolate(small, size=(DIGIT, DIGIT), mode="bilinear", align_corners=False)
    margin = (FRAME - DIGIT) // 2
    framed = F.pad(large.squeeze(1) * (255 / 16), (margin,) * 4)
    images = framed.round().clamp(0, 255).to(torch.uint8)
    targets = torch.from_numpy(labels).long()
    train, test = train_test_split(
        range(len(images)), test_size=TEST_FRACTION, stratify=labels, random_state=0
    )
    return Dataset(
        images[train], targets[train], images[test], targets[test], test_repeats=TEST_REPEATS
    )
