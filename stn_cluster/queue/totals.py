"""The service in numbers, for whoever watches it over months."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stn_cluster.queue.jobs import CellState


@dataclass(frozen=True)
class Totals:
    """What the queue counts."""

    jobs: int
    cells: Mapping[CellState, int]  # of all jobs; a cell that several want counts once
    attempts: Mapping[str, int]  # ended ones, by how they ended
    begun: int  # cells that have been tried
    waited_seconds: float  # of all those: from the submission of the job to the first attempt


@dataclass(frozen=True)
class Metrics:
    """At one moment."""

    totals: Totals
    workers: int
    images_per_second: float
    in_trouble: bool  # something keeps it from going on
