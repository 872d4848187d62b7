"""Drawn test results whose true errors are known, for the statistics' tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

ERRORS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)  # true errors that the table has


def draw_wrong(
    rng: np.random.Generator,
    errors: Sequence[float],
    *,
    seeds: int = 1,
    repeats: int = 1,
    images: int = 1000,
    of_images: float = 0.8,
    of_seeds: float = 0.0,
    shared: float = 0.9,
) -> NDArray[np.bool_]:
    """Draws which images are wrong, (methods, seeds, repeats, images), on new images, by new seeds.

    An image is wrong where a sum of normal numbers exceeds a threshold, so that the error over all
    images and seeds is known exactly.

    Args:
        rng: of the drawing.
        errors: true error of each method.
        seeds, repeats, images: shape; repeats are versions of an image.
        of_images: share of the variance that is the image's own.
        of_seeds: share that is the seed's own.
        shared: of the image's own share, what is the same for all methods.
    """
    methods, own = len(errors), of_images * (1 - shared)
    image = np.sqrt(of_images * shared) * rng.standard_normal(images)
    image = image + np.sqrt(own) * rng.standard_normal((methods, 1, 1, images))
    seed = np.sqrt(of_seeds) * rng.standard_normal((methods, seeds, 1, 1))
    rest = np.sqrt(1 - of_images - of_seeds) * rng.standard_normal(
        (methods, seeds, repeats, images)
    )
    return image + seed + rest < ndtri(np.array(errors))[:, None, None, None]
