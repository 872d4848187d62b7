"""What several networks made of the same test images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.figures.stored_images import stored_images
from stn_cluster.grid import NO_TRAINING
from stn_cluster.report.grading import grade
from stn_cluster.store import Store


@dataclass(frozen=True, eq=False)
class Votes:
    """Predictions of networks for the images of one test set."""

    title: str  # data set, recipe, distortion
    images: NDArray[np.uint8]  # (N, H, W) or (N, H, W, 3)
    truth: NDArray[np.int64]  # (N,) classes
    predicted: NDArray[np.int64]  # (networks, N)
    transformed: NDArray[np.bool_]  # (networks,) whether the network has a transformer
    class_names: tuple[str, ...] | None = None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(networks, N)."""
        return np.not_equal(self.predicted, self.truth)

    def name(self, number: int) -> str:
        """Name of a class."""
        return self.class_names[number] if self.class_names else str(number)

    def usual_mistake(self, image: int) -> str:
        """Name of the class that most of the networks that are wrong take an image for."""
        wrong = self.predicted[self.wrong[:, image], image]
        return self.name(Counter(wrong.tolist()).most_common(1)[0][0]) if len(wrong) else ""


def load_votes(store: Store, results: pd.DataFrame, data_root: Path | None) -> Votes:
    """Loads predictions and distorted images of the test set that most of the cells share.

    Cells whose predictions cannot be graded are left out.

    Args:
        store: the store.
        results: succeeded cells of it, as `load_results` gives them.
        data_root: folder of the data sets' files.

    Raises:
        UserError: no cell has predictions, the cells are of several distortions, data sets or
            recipes, or the data set is missing or another one.
    """
    if results.empty:
        raise UserError("there is nothing to draw: no cell has predictions")
    title = _title(results)
    grades = grade(store, results, data_root)
    if not grades.cells:
        reasons = "; ".join(dict.fromkeys(grades.reasons.values()))
        raise UserError(f"there is nothing to draw: {reasons}")
    ((name, _),) = Counter(one.test_set for one in grades.cells.values()).most_common(1)
    graded = [one for one in grades.cells.values() if one.test_set == name]
    rows = results.set_index("key").loc[[one.key for one in graded]]
    truth = graded[0].truth.astype(np.int64)
    test_set = stored_images(rows["spec"].iloc[0], store, data_root, truth)
    return Votes(
        title,
        test_set.images,
        truth,
        np.array([one.predicted for one in graded]).astype(np.int64),
        (rows["transform"] != "none").to_numpy(),
        test_set.class_names,
    )


def _title(results: pd.DataFrame) -> str:
    """'mnist, recipe fast, RTS'; networks that were not trained here stand beside any recipe.

    Raises:
        UserError: they are of several.
    """
    trained = results[results["recipe"] != NO_TRAINING]
    names = (results if trained.empty else trained)[["dataset", "recipe", "distortion"]]
    shown = list(names.drop_duplicates().itertuples(index=False, name=None))
    if len(shown) > 1 or len(results[["dataset", "distortion"]].drop_duplicates()) > 1:
        every = results[["dataset", "recipe", "distortion"]].drop_duplicates()
        listed = "; ".join(", ".join(row) for row in every.itertuples(index=False, name=None))
        raise UserError(
            f"a figure of images is of one data set, recipe and distortion; choose one of {listed}"
        )
    [(dataset, recipe, distortion)] = shown
    return f"{dataset}, recipe {recipe}, {distortion}"
