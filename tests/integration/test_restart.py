"""The whole cluster dies, and another one takes over store and state."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from support.failures import PATIENCE, rows, the_end
from support.services import kill, make_job, one_node, serve, wait_until

from stn_cluster.queue.jobs import CellState, Page


def test_after_the_whole_cluster_died_the_next_service_goes_on_also_with_a_damaged_log(
    tmp_path: Path,
) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    job = make_job(
        "job",
        cells=[
            *({"model": "FCN", "distortion": letter} for letter in "RPE"),
            *({"model": "Slow", "distortion": letter} for letter in "RPE"),
        ],
        plugins=["breaking_plugin"],
        recipe={"name": "smoke", "iterations": 60},
    )
    with one_node(2):
        serve(whole, workers=1).submit(job)
        wait_until(lambda: len(rows(whole / "store")) >= 1, PATIENCE)
        for pid in children():  # Ray's own processes; all others end with them
            kill(pid, signal.SIGKILL)
    ended = rows(whole / "store")
    shutil.copytree(whole, damaged)
    log = damaged / "state" / "queue.sqlite-wal"
    content = log.read_bytes()
    assert len(content) > 8192
    log.write_bytes(content[:4096] + os.urandom(len(content) - 4096))

    with one_node(2):
        client = serve(whole)  # nothing is submitted again
        assert the_end(client, "job").counts == {CellState.SUCCEEDED: 6}
        stored = rows(whole / "store")
        assert sorted(stored["key"]) == sorted(cell.key for cell in job.cells)
        assert set(ended["attempt"]) <= set(stored["attempt"])
        client.stop(60)

        client = serve(damaged)
        client.submit(job)  # it may be forgotten, but not what the store has of it
        client.cancel("job")
        done = client.cells("job", Page(states=(CellState.SUCCEEDED,)))
        assert {cell.cell.key for cell in done} == set(rows(damaged / "store")["key"])
        assert set(rows(damaged / "store")["attempt"]) == set(ended["attempt"])
        client.stop(60)


def children() -> list[int]:
    """The processes that this one has started."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in listed.split()]
