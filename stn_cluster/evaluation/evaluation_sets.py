"""The test set on which a cell is evaluated: which images, how distorted, how often drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distorted_images import DistortedImages, Variation
from stn_cluster.dataset_info import scaled
from stn_cluster.errors import UserError
from stn_cluster.evaluation.severities import CLEAN, DistortionAtSeverity
from stn_cluster.grid import Cell, hash_test_set
from stn_cluster.registry import lookup, parse_distortion

LARGEST_WORST_OF = 100
ENLARGED_CANVAS = 42  # pixels, canvas of a frame of 28 for which the moves of P are meant
_ON_THE_ENLARGED_FRAME = ("R", "RTS", "E")


@dataclass(frozen=True)
class EvaluationSet:
    """A test set for a cell; cells with the same name share it."""

    cell: Cell  # of this distortion; its frame is the one that the distortion acts on
    variation: Variation
    worst_of: int = 1  # number of draws; draw 0 is the plain one

    @property
    def name(self) -> str:
        """Id of the test set, 16 hex digits: the cell's own one's is `Cell.test_set`."""
        cell, name = self.cell, self.cell.distortion_name
        return hash_test_set(
            dataset=cell.dataset,
            dataset_revision=cell.revisions[f"dataset:{cell.dataset}"],
            distortion=name,
            distortion_revision=cell.revisions[f"distortion:{name}"],
            variant=cell.variant,
            canvas=cell.canvas,
            frame=cell.data.frame,
            severity=self.variation.severity,
            worst_of=self.worst_of,
            moves=self.variation.moves,
        )

    def images(self, dataset: Dataset, device: torch.device, draw: int = 0) -> DistortedImages:
        """Its images in one of the draws, 0 to `worst_of` - 1.

        Raises:
            UserError: while they are distorted: a plug-in's distortion does not give what it
                should, or does not say how it scales.
        """
        variation = replace(self.variation, draw=draw)
        return DistortedImages(self.cell, dataset, device, variation)


def evaluation_set(cell: Cell, asked: DistortionAtSeverity, worst_of: int = 1) -> EvaluationSet:
    """The test set of a cell for a test distortion.

    A cell's own distortion is always its own plain test set; others are on its canvas. `clean` is
    the cell's own distortion at severity 0, with one draw. Where a cell sees images that fill its
    canvas (P's enlarged variants), R, RTS and E act on such images, and amounts in pixels scale
    with them. The moves of P's enlarged variants scale with the canvas that is filled.

    Args:
        cell: the cell, of the data set to test on.
        asked: the test distortion.
        worst_of: number of draws, 1 to 100.

    Raises:
        UserError: the number of draws is out of range.
    """
    if not 1 <= worst_of <= LARGEST_WORST_OF:
        raise UserError(f"worst of {worst_of}: a number of draws from 1 to {LARGEST_WORST_OF}")
    own = cell.distortion_name, cell.variant
    if asked.name == CLEAN:
        severity = 1.0 if cell.distortion_name == CLEAN else 0.0
        return EvaluationSet(cell, Variation(severity=severity))
    if (asked.name, asked.variant) == own:
        return EvaluationSet(cell, Variation(severity=asked.severity), worst_of)
    moves = 1.0
    if fills_the_canvas(asked.name, asked.variant):
        moves = cell.canvas / scaled(ENLARGED_CANVAS, cell.data.frame)
    variation = Variation(severity=asked.severity, moves=moves)
    return EvaluationSet(_distorted_as(cell, asked), variation, worst_of)


def clean_set(cell: Cell) -> EvaluationSet:
    """The undistorted test set of a cell, placed on its canvas as in training."""
    name, variant, _, distortion = parse_distortion(CLEAN)
    return evaluation_set(cell, DistortionAtSeverity(distortion, name, variant))


def fills_the_canvas(name: str, variant: str) -> bool:
    """Whether a distortion enlarges images to its canvas."""
    return name == "P" and variant.endswith("enlarged")


def _distorted_as(cell: Cell, asked: DistortionAtSeverity) -> Cell:
    """A cell's copy that says what its test images are."""
    text = f"{asked.name}:{asked.variant}-{cell.canvas}"
    name, variant, canvas, distortion = parse_distortion(text, cell.data.frame)
    data = cell.data
    enlarged = fills_the_canvas(cell.distortion_name, cell.variant)
    if enlarged and name in _ON_THE_ENLARGED_FRAME:
        data = data.model_copy(update={"frame": canvas})
    revisions = {
        component: revision
        for component, revision in cell.revisions.items()
        if not component.startswith("distortion:")
    } | {f"distortion:{name}": lookup("distortion", name).revision}
    tested = {"distortion": distortion, "variant": variant, "revisions": revisions, "data": data}
    return cell.model_copy(update=tested)


def worst_draws(classes: Tensor, labels: Tensor) -> Tensor:
    """For each image, the draw that counts: the first that is classified wrongly, else draw 0.

    Args:
        classes: (K, N) int64, the predicted class of each image in each draw.
        labels: (N,) int64.

    Returns:
        (N,) int64, 0 to K - 1.
    """
    return (classes != labels).int().argmax(0)  # of equal ones, the first


def worst_classes(classes: Tensor, labels: Tensor) -> Tensor:
    """The classes that are stored of K draws, (N,): the first wrong one, else the right one.

    Args:
        classes, labels: see `worst_draws`.
    """
    return classes.gather(0, worst_draws(classes, labels)[None])[0]
