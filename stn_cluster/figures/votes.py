"""What several networks made of the same test images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import with_present_name
from stn_cluster.store import Store, read_classes


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

    Args:
        store: the store.
        results: succeeded cells of it, as `load_results` gives them.
        data_root: folder of the data sets' files.

    Raises:
        UserError: no cell has predictions, the cells are of several distortions, or the data set
            is missing or another one.
    """
    from stn_cluster.data.test_images import load_test_images  # imports torch

    found = read_classes(store, results["attempt"].tolist())
    rows = results[results["attempt"].isin(found)]
    cells = [with_present_name(Cell.model_validate_json(spec)) for spec in rows["spec"].tolist()]
    if not cells:
        raise UserError("there is nothing to draw: no cell has predictions")
    if len({(cell.dataset, cell.distortion) for cell in cells}) > 1:
        shown = ", ".join(dict.fromkeys(f"{cell.dataset} {cell.distortion}" for cell in cells))
        raise UserError(f"a figure of images is of one distortion; choose one of {shown}")
    ((name, _),) = Counter(cell.test_set for cell in cells).most_common(1)
    same = [cell.test_set == name for cell in cells]
    first = cells[same.index(True)]
    test_set = load_test_images(first, data_root)
    predicted = np.array([found[attempt][1] for attempt in rows["attempt"][same]])
    if predicted.shape[1] != len(test_set.labels):
        raise UserError(f"data set {first.dataset!r} is not what its cells were tested on")
    return Votes(
        f"{first.dataset}, recipe {rows['recipe'][same].iloc[0]}, {first.distortion}",
        test_set.images,
        test_set.labels,
        predicted.astype(np.int64),
        (rows["transform"][same] != "none").to_numpy(),
        test_set.class_names,
    )
