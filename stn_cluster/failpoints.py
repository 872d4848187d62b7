"""Failpoints: every boundary between two durable writes, where a test can kill a process.

A test names a failpoint and a marker file, which is created when the process dies there, so that it
dies only once: `STN_CLUSTER_FAILPOINT=cells-written:/tmp/marker`, or `cells-written:3:/tmp/marker`
for the third time that it is reached. Several are separated by commas. If the variable is not set,
failpoints do nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum
from pathlib import Path

VARIABLE = "STN_CLUSTER_FAILPOINT"


class Failpoint(StrEnum):
    """All failpoints, in the order in which a cell passes them, and those of compaction."""

    SUBMIT_RECEIVED = "submit-received"  # nothing is written yet
    SUBMIT_WRITTEN = "submit-written"  # within the queue's transaction
    SUBMIT_COMMITTED = "submit-committed"  # in the queue; the client has no response yet
    JOB_DRAFTED = "jobs-drafted"  # the job's record is complete, but still a temporary file
    JOB_RECORDED = "job-recorded"  # the store has the record; the queue does not know yet

    CLAIM_WRITTEN = "claim-written"
    CLAIM_COMMITTED = "claim-committed"  # running in the queue; no worker has it yet
    CLAIM_HANDED_OVER = "claim-handed-over"

    CHECKPOINT_DRAFTED = "checkpoint-drafted"  # in the worker, like the next two
    CHECKPOINT_WRITTEN = "checkpoint-written"  # the coordinator does not know it yet
    WEIGHTS_WRITTEN = "weights-written"  # the coordinator does not know the result yet
    CHECKPOINT_RECORDED = "checkpoint-recorded"  # in the queue; the older one still exists

    REQUEUE_WRITTEN = "requeue-written"  # an attempt was lost
    REQUEUE_COMMITTED = "requeue-committed"

    RESULT_RECEIVED = "result-received"  # nothing is written yet
    TEST_SETS_DRAFTED = "test_sets-drafted"  # only with the first result of a test set
    TEST_SETS_WRITTEN = "test_sets-written"
    PREDICTIONS_DRAFTED = "predictions-drafted"
    PREDICTIONS_WRITTEN = "predictions-written"
    CURVES_DRAFTED = "curves-drafted"
    CURVES_WRITTEN = "curves-written"
    CELLS_DRAFTED = "cells-drafted"
    CELLS_WRITTEN = "cells-written"  # the commit point; the queue does not know yet
    EVALUATIONS_DRAFTED = "evaluations-drafted"
    EVALUATIONS_WRITTEN = "evaluations-written"  # the commit point of an evaluation
    RESULT_WRITTEN = "result-written"  # within the queue's transaction
    RESULT_COMMITTED = "result-committed"  # the checkpoint still exists
    STATE_DROPPED = "state-dropped"

    COMPACTION_WRITTEN = "compaction-written"  # the replaced files still exist
    COMPACTION_REMOVED = "compaction-removed"  # one of them does not, or several

    # In `prune`.
    PRUNE_REMOVED = "prune-removed"  # a file: a log, a checkpoint, a record, rows
    PRUNE_WRITTEN = "prune-written"  # within the queue's transaction
    PRUNE_COMMITTED = "prune-committed"
    PRUNE_REPLACED = "prune-replaced"  # a file without the rows is there, beside that with them
    PRUNE_SHRUNK = "prune-shrunk"  # the queue's file


def _armed() -> dict[str, tuple[int, Path]]:
    armed = {}
    for entry in filter(None, os.environ.get(VARIABLE, "").split(",")):
        point, _, rest = entry.partition(":")
        count, _, marker = rest.rpartition(":")
        armed[Failpoint(point).value] = int(count or 1), Path(marker)
    return armed


_ARMED = _armed()
_reached: Counter[str] = Counter()


def failpoint(point: str) -> None:
    """Kills this process immediately if the environment variable arms this failpoint."""
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
