"""Distorted test images that some cell gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.document.embedded import Embedded, EmbeddedCell, TestSet
from stn_cluster.errors import UserError
from stn_cluster.figures.stored_images import stored_images
from stn_cluster.figures.votes import Votes
from stn_cluster.store import Store

MOST_TEST_SETS = 12  # whose images are made
Images = NDArray[np.uint8]  # (N, H, W) or (N, H, W, 3)


def load_images(
    test_sets: Sequence[TestSet], store: Store, data_root: Path | None, left_out: dict[str, str]
) -> dict[str, Images]:
    """Images of each test set's `wrong`, in its order.

    Args:
        test_sets: whose images.
        store: the store, which knows where plug-ins were.
        data_root: folder of the data sets' files.
        left_out: gets the test sets whose images cannot be made, and why.
    """
    found = {}
    reasons: dict[str, list[str]] = {}  # titles by reason
    if len(test_sets) > MOST_TEST_SETS:
        titles = [test_set.title for test_set in test_sets[MOST_TEST_SETS:]]
        reasons[f"only those of the first {MOST_TEST_SETS} test sets are made"] = titles
    for test_set in test_sets[:MOST_TEST_SETS]:
        try:
            wrong, truth = test_set.wrong, test_set.truth
            made = stored_images(test_set.spec, store, data_root, truth, wrong, test_set.images)
            found[test_set.test_set] = made.images[wrong]
            continue
        except UserError as error:
            reason = str(error)
        except ModuleNotFoundError as error:
            reason = f"distorting them needs {error.name}"
        except Exception as error:  # of a plug-in: the report is worth having without its images
            reason = f"{type(error).__name__}: {error}"
        reasons.setdefault(reason, []).append(test_set.title)
    for reason, titles in reasons.items():
        left_out[f"Images of {'; '.join(titles)}"] = reason
    return found


def votes_of(embedded: Embedded, images: Mapping[str, Images]) -> list[Votes]:
    """What the embedded cells make of the images of each test set that some of them get wrong."""
    found = []
    for index, test_set in enumerate(embedded.test_sets):
        cells = [cell for cell in embedded.cells if cell.test_set == index]
        if test_set.test_set in images and len(test_set.wrong):
            found.append(_votes(test_set, cells, images[test_set.test_set]))
    return found


def _votes(test_set: TestSet, cells: Sequence[EmbeddedCell], images: Any) -> Votes:
    predicted = np.tile(test_set.truth, (len(cells), 1))
    for row, cell in zip(predicted, cells, strict=True):
        row[cell.places] = cell.predicted
    transformed = np.array([cell.entry[3] != "none" for cell in cells])
    return Votes(
        test_set.title, images, test_set.truth, predicted, transformed, test_set.class_names
    )
