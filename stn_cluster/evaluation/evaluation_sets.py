"""The test set on which a cell is evaluated: which images, how distorted, how often drawn."""

from __future__ import annotations

from stn_cluster.dataset_info import scaled
from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN, LARGEST_WORST_OF
from stn_cluster.evaluation.severities import DistortionAtSeverity
from stn_cluster.evaluations import EvaluationSet
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup, parse_distortion

ENLARGED_CANVAS = 42  # pixels, canvas of a frame of 28 for which the moves of P are meant
_ON_THE_ENLARGED_FRAME = ("R", "RTS", "E")


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
        return EvaluationSet(cell=cell, severity=severity)
    if (asked.name, asked.variant) == own:
        return EvaluationSet(cell=cell, severity=asked.severity, worst_of=worst_of)
    moves = 1.0
    if fills_the_canvas(asked.name, asked.variant):
        moves = cell.canvas / scaled(ENLARGED_CANVAS, cell.data.frame)
    return EvaluationSet(
        cell=_distorted_as(cell, asked), severity=asked.severity, moves=moves, worst_of=worst_of
    )


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
    }
    entry = lookup("distortion", name)
    tested = {
        "distortion": distortion,
        "variant": variant,
        "revisions": revisions | {f"distortion:{name}": entry.revision},
        "data": data,
        "plugins": tuple(sorted({*cell.plugins, *filter(None, [entry.plugin])})),
    }
    return cell.model_copy(update=tested)
