"""A queue with very many cells: time to submit them, to query them, and to restart."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service_under_test import coordinator, noop_cells, resident_mib, service

from stn_cluster.queue.jobs import Job, Page

LOOKS = 5
PAGE = 1000  # cells
NOWHERE = {"resources": {"absent": 1}}  # no node has it: the cells stay queued

Say = Callable[[str], None]


def measure_submission(folder: Path, count: int, say: Say) -> dict[str, Any]:
    """Seconds to submit `count` cells and to query them; MiB of the coordinator."""
    with service(folder, workers=1) as client:
        before = resident_mib(coordinator())
        cells, resolve_seconds = _timed(noop_cells, count, needs=NOWHERE)
        job, job_seconds = _timed(Job, "large", cells)
        say(f"{count} cells resolved in {resolve_seconds:.1f} s")
        _, submit_seconds = _timed(client.submit, job)
        say(f"submitted in {submit_seconds:.1f} s")
        at_once = [_timed(client.status, "large") for _ in range(LOOKS)]
        pages = [
            _timed(client.cells, "large", Page(offset, PAGE))[1]
            for offset in (0, count // 2, max(0, count - PAGE))
        ]
        found = {
            "cells": count,
            "resolve_seconds": resolve_seconds,
            "job_seconds": job_seconds,
            "submit_seconds": submit_seconds,
            "status_seconds": statistics.median(seconds for _, seconds in at_once),
            "status_seconds_most": max(seconds for _, seconds in at_once),
            "page_of_1000_seconds": pages,
            "coordinator_mib_before": before,
            "coordinator_mib_after": resident_mib(coordinator()),
            "waiting": list(at_once[-1][0].waiting),
        }
        say(str(found))
        return found


def measure_restart(folder: Path, count: int, rounds: int, say: Say) -> dict[str, Any]:
    """Seconds from the coordinator's death, with `count` queued cells, to its next response."""
    seconds = []
    with service(folder, workers=1) as client:
        client.submit(Job("waiting", noop_cells(count, needs=NOWHERE)))
        for turn in range(rounds):
            before = coordinator()
            began = time.perf_counter()
            os.kill(before, signal.SIGKILL)
            status = client.status("waiting")
            seconds.append(round(time.perf_counter() - began, 2))
            if status.total != count or coordinator() == before:
                raise RuntimeError(f"not the queue as it was: {status}")
            say(f"restart {turn + 1}/{rounds}: serves again after {seconds[-1]} s")
    return {"cells": count, "serving_again_seconds": statistics.median(seconds), "all": seconds}


def _timed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    done = call(*args, **kwargs)
    return done, round(time.perf_counter() - began, 3)
