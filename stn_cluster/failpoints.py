"""Failpoints: every boundary between two durable writes, where a test can make a process die.

A test names one of them, and a file that is made when it dies there, so that it does so once:
`STN_CLUSTER_FAILPOINT=cells-written:/tmp/marker`, or `cells-written:3:/tmp/marker` for the third
time that it is reached; several are separated by commas. Unset, all of this does nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum
from pathlib import Path

VARIABLE = "STN_CLUSTER_FAILPOINT"


class Failpoint(StrEnum):
    """All failpoints, in the order in which a cell's life passes them."""

    SUBMIT_RECEIVED = "submit-received"  # nothing is written
    SUBMIT_WRITTEN = "submit-written"  # in the queue's transaction
    SUBMIT_COMMITTED = "submit-committed"  # the queue has it; the client has not heard
    JOB_DRAFTED = "jobs-drafted"  # its record is whole, but not in its place
    JOB_RECORDED = "job-recorded"  # the store has its record; the queue does not know

    CLAIM_WRITTEN = "claim-written"
    CLAIM_COMMITTED = "claim-committed"  # running, says the queue; no worker has it
    CLAIM_HANDED_OVER = "claim-handed-over"

    CHECKPOINT_DRAFTED = "checkpoint-drafted"  # in the worker, as the next two
    CHECKPOINT_WRITTEN = "checkpoint-written"  # the coordinator does not know of it
    WEIGHTS_WRITTEN = "weights-written"  # the coordinator does not know of the result
    CHECKPOINT_RECORDED = "checkpoint-recorded"  # the queue names it; the older one is still there

    REQUEUE_WRITTEN = "requeue-written"  # an attempt came to nothing
    REQUEUE_COMMITTED = "requeue-committed"

    RESULT_RECEIVED = "result-received"  # nothing is written
    TEST_SETS_DRAFTED = "test_sets-drafted"  # with the first result of a test set
    TEST_SETS_WRITTEN = "test_sets-written"
    PREDICTIONS_DRAFTED = "predictions-drafted"
    PREDICTIONS_WRITTEN = "predictions-written"
    CURVES_DRAFTED = "curves-drafted"
    CURVES_WRITTEN = "curves-written"
    CELLS_DRAFTED = "cells-drafted"
    CELLS_WRITTEN = "cells-written"  # the commit point; the queue does not know
    RESULT_WRITTEN = "result-written"  # in the queue's transaction
    RESULT_COMMITTED = "result-committed"  # the training state is still there
    STATE_DROPPED = "state-dropped"


def _armed() -> dict[str, tuple[int, Path]]:
    armed = {}
    for fault in filter(None, os.environ.get(VARIABLE, "").split(",")):
        point, _, rest = fault.partition(":")
        count, _, marker = rest.rpartition(":")
        armed[Failpoint(point).value] = int(count or 1), Path(marker)
    return armed


_ARMED = _armed()
_reached: Counter[str] = Counter()


def failpoint(point: str) -> None:
    """Kills this process here, at once, if a test has asked for it."""
    if point not in _ARMED:
        return
    _reached[point] += 1
    count, marker = _ARMED[point]
    if _reached[point] < count:
        return
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
