"""Test images of a stored cell, as its network sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.errors import UserError, unknown
from stn_cluster.figures.stored_images import stored_images
from stn_cluster.figures.transformations import Seen
from stn_cluster.figures.votes import load_votes
from stn_cluster.grid import NO_TRAINING
from stn_cluster.report.grading import grade
from stn_cluster.report.table import current_cells
from stn_cluster.store import Store, load_results, predictions_of

if TYPE_CHECKING:
    from stn_cluster.data.test_images import TestImages
    from stn_cluster.grid import Cell
    from stn_cluster.inference.stored_cells import StoredCell

CHOICES = ("random", "worst", "improved")
CHANNELS = (1, 3)  # of an image: a network may transform maps of features, too


@dataclass(frozen=True)
class Choice:
    """Which test images are drawn."""

    # random: the same ones each time; worst: wrong with the highest confidence; improved: right,
    # and wrong by most networks without a transformer.
    how: str = "random"
    count: int = 6
    images: tuple[int, ...] = ()  # these, whatever else is said

    def __post_init__(self) -> None:
        if self.how not in CHOICES:
            raise UserError(unknown("choice of images", self.how, CHOICES))
        if self.count < 1:
            raise UserError(f"number of images: at least 1, not {self.count}")


def load_seen(
    store: Store,
    label: str,
    choice: Choice,
    data_root: Path | None,
    filters: Mapping[str, Any] | None = None,
    attempt: str | None = None,
) -> Seen:
    """Loads a cell's network and lets it look at some of its test images, rounded to 8 bits.

    Args:
        store: the store.
        label: the cell's label, with or without the seed, or its key.
        choice: which images.
        data_root: folder of the data sets' files.
        filters: as in `load_results`, where several cells have this label.
        attempt: id of one of its attempts; None: its current result.

    Raises:
        NotFoundError: there is no such cell or attempt, or its weights are not here.
        UserError: its network has no spatial transformer, no image is as chosen, or the data set
            is missing or another one.
    """
    from stn_cluster.inference.apply_models import predict, transformations
    from stn_cluster.inference.stored_cells import find_cell
    from stn_cluster.inference.trained_models import load_model

    current = find_cell(store, label, None, None, dict(filters or {}))
    stored = current if attempt is None else find_cell(store, current.cell.key, None, attempt, {})
    # Published weights have no attempt: they are the current result's.
    own = None if stored.attempt == current.attempt else stored.attempt
    model = load_model(store, stored.cell.key, attempt=own, data_root=data_root)
    test = _test_images(store, stored.cell, data_root)
    chosen = _chosen(store, stored, test, choice, data_root)
    images = test.images[chosen]
    pixels = (images if images.ndim == 4 else images[..., None]).transpose(0, 3, 1, 2)
    found = [one for one in transformations(model, pixels) if one.output.shape[1] in CHANNELS]
    if not found:
        raise UserError(f"{stored.cell.label}: its network has no spatial transformer of images")
    predicted = predict(model, pixels).classes.tolist()
    names = dict(enumerate(test.class_names or ()))
    return Seen(
        stored.cell.label,
        (images / 255).astype(np.float32),
        found[0].grid.numpy(),
        found[0].output.permute(0, 2, 3, 1).squeeze(-1).numpy(),
        tuple(
            f"{names.get(true, true)}"
            + (f", taken for {names.get(given, given)}" if given != true else "")
            for true, given in zip(test.labels[chosen].tolist(), predicted, strict=True)
        ),
    )


def _test_images(store: Store, cell: Cell, data_root: Path | None) -> TestImages:
    """The cell's test images, whose classes must be those that its predictions were graded by."""
    rows = load_results(store, key=cell.key, status="succeeded")
    graded = grade(store, rows, data_root).cells.get(cell.key)
    truth = None if graded is None else graded.truth.astype(np.int64)
    return stored_images(rows["spec"].iloc[0], store, data_root, truth)


def _chosen(
    store: Store, stored: StoredCell, test: TestImages, choice: Choice, data_root: Path | None
) -> NDArray[np.intp]:
    total, cell = len(test.labels), stored.cell
    if choice.images:
        return _given(choice.images, total)
    if choice.how == "random":
        return np.sort(np.random.default_rng(0).permutation(total)[: choice.count])
    rows = store.results(latest=False)
    own = predictions_of(store, rows[rows["attempt"] == stored.attempt])
    if len(own) != total:
        raise UserError(f"{cell.label}: its predictions are not in the store: choose random images")
    wrong = np.not_equal(own["predicted_class"].to_numpy(int), test.labels)
    if choice.how == "worst":
        sure = own["confidence"].fillna(0).to_numpy(float)
        order: NDArray[np.intp] = np.argsort(-sure, kind="stable")
        found: NDArray[np.intp] = order[wrong[order]]
    else:
        results = current_cells(
            load_results(
                store,
                dataset=cell.dataset,
                recipe=[cell.recipe, NO_TRAINING],
                distortion=cell.distortion,
                status="succeeded",
            )
        )
        votes = load_votes(store, results, data_root)
        others = votes.wrong[~votes.transformed].mean(axis=0) if not votes.transformed.all() else []
        gain = np.where(wrong, 0, others) if len(others) else np.zeros(total)
        order = np.argsort(-gain, kind="stable")
        found = order[gain[order] > 0]
    if not len(found):
        raise UserError(f"{cell.label}: no test image is {choice.how!r}")
    return found[: choice.count]


def _given(images: Sequence[int], total: int) -> NDArray[np.intp]:
    for image in images:
        if not 0 <= image < total:
            raise UserError(f"image {image}: the test set has images 0 to {total - 1:,}")
    return np.array(images, np.intp)
