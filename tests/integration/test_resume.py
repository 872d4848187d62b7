"""A cell whose worker was killed goes on, and ends as if nothing had happened: bit for bit."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from support.failures import PATIENCE, alive, parts, the_end
from support.services import kill, make_job, one_node, serve, wait_until

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellState, Job, Page

RECIPE = {"name": "smoke", "iterations": 400}


def the_8_rows() -> tuple[Cell, ...]:
    """FCN, CNN, and the two others with each transform."""
    return make_job("rows", distortions=["E"], recipe=RECIPE).cells


def resumed_equals_undisturbed(folder: Path, rounds: list[tuple[Cell, ...]], seed: int) -> None:
    """In each round, the worker of each cell is killed once at a step drawn at random."""
    rng = random.Random(seed)
    whole = tuple({cell.key: cell for cells in rounds for cell in cells}.values())
    with one_node(2):
        client = serve(folder, heartbeat_seconds=0.05)
        client.submit(Job("undisturbed", whole))
        the_end(client, "undisturbed")
        expected = {
            cell.key: parts(folder / "store", client.attempts(cell.key)[0].id) for cell in whole
        }
        resumed = 0
        for number, cells in enumerate(rounds):
            targets = {cell.key: rng.randrange(1, 250) for cell in cells}
            client.submit(Job(f"round-{number}", cells, force=True))
            kill_at(client, f"round-{number}", targets)
            the_end(client, f"round-{number}")
            for cell in cells:
                last, text = list(client.logs(cell.key))[-1]
                resumed += "resumes from step" in text
                assert parts(folder / "store", last.id) == expected[cell.key], cell.label
        assert resumed > 0  # else it has shown nothing
        client.stop(60)


def kill_at(client: CoordinatorClient, job_id: str, targets: dict[str, int]) -> None:
    """Kills the worker of each cell, once, when the cell is at its step."""
    left = dict(targets)

    def all_killed() -> bool:
        for cell in client.cells(job_id, Page(states=(CellState.RUNNING,))):
            key = cell.cell.key
            if cell.step < left.get(key, math.inf):
                continue
            worker = client.attempts(key)[-1].worker
            if alive(worker.process):  # or it was killed just now for a pack mate's sake
                kill(worker.process)
                del left[key]
        return not left

    wait_until(all_killed, PATIENCE, every=0.01)


def test_a_killed_cell_goes_on_and_ends_as_if_undisturbed(tmp_path: Path) -> None:
    rows = the_8_rows()
    resumed_equals_undisturbed(tmp_path, [(rows[1], rows[2], rows[7])], seed=0)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_twenty_killed_cells_over_all_rows_of_the_table_end_as_if_undisturbed(
    tmp_path: Path,
) -> None:
    rows = the_8_rows()
    resumed_equals_undisturbed(tmp_path, [rows, rows, rows[:4]], seed=1)
