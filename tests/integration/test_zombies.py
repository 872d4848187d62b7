"""Workers that fall silent: their cells go to others, and when they wake they do no harm."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import ray
from support.failures import (
    PATIENCE,
    alive,
    contents,
    counts,
    exit_reason,
    exit_reasons,
    rows,
    running,
    the_end,
)
from support.faulty_services import Helpless
from support.services import kill, make_job, one_node, serve, wait_until

from stn_cluster.cluster.connect import start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.jobs import CellState, Job, Page
from stn_cluster.training.outcome import Outcome

LEASE = 1.0  # seconds
TESTS = Path(__file__).parents[1]
OVER = tuple(state for state in CellState if state.ended)


def wake(folder: Path, wanted: int, width: int, seed: int) -> None:
    """Until so many were seen: workers are stopped past their lease, and woken again.

    A busy machine can hold up other workers for a lease, too: what holds for a result must hold
    then as well, but only cells that another worker has trained to the end are counted.
    """
    settings = Settings(
        store=str(folder / "store"),
        state=str(folder / "state"),
        workers=width,
        lease_seconds=LEASE,
        heartbeat_seconds=0.1,
        checkpoint_seconds=0.2,
    )
    rng = random.Random(seed)
    woken = 0
    with one_node(4 * width, PYTHONPATH=str(TESTS)):
        client = start(settings, coordinator=Helpless)
        for number in count():
            job = make_job(
                f"round-{number}",
                models=["Slow"],
                distortions=["E"],
                seeds=[number * width + i for i in range(width)],
                plugins=["breaking_plugin"],
                recipe={"name": "smoke", "iterations": 60},
            )
            woken += one_round(client, folder / "store", job, rng)
            print(f"round {number}: {woken} woken", flush=True)
            if woken >= wanted:
                return


def one_round(client: CoordinatorClient, store: Path, job: Job, rng: random.Random) -> int:
    """Stops the workers of a job's cells, and wakes them when others have these; how many."""
    when = rng.choice(["given to another", "on its way again", "ended"])
    step = rng.randrange(10, 40)  # some have all but ended when they are stopped
    client.submit(job)
    wait_until(lambda: running(client, job.job_id, step) or ended(client, job), PATIENCE)
    zombies = running(client, job.job_id)
    for zombie in zombies:
        kill(zombie.worker.process, signal.SIGSTOP)
    wait_until(lambda: all(there(client, zombie, when) for zombie in zombies), PATIENCE)
    before = contents(store / "checkpoints")
    for zombie in zombies:
        kill(zombie.worker.process, signal.SIGCONT)
    expired = [zombie for zombie in zombies if exit_reason(history(client, zombie)[0]) == "expired"]
    wait_until(lambda: not any(alive(zombie.worker.process) for zombie in expired), PATIENCE)
    said_late(client, expired)
    the_end(client, job.job_id)
    after = contents(store / "checkpoints")
    assert {name: after[name] for name in before if name in after} == {
        name: before[name] for name in before if name in after
    }
    assert sorted(rows(store).query("job_id == @job.job_id")["key"]) == sorted(
        cell.key for cell in job.cells
    )
    return sum(trained_by_another(client, store, zombie) for zombie in expired)


def trained_by_another(client: CoordinatorClient, store: Path, zombie: Attempt) -> bool:
    """Whether the cell of a stopped worker has succeeded; then it is not that worker's success."""
    [row] = rows(store, zombie.cell.key).to_dict("records")
    if row["status"] == "failed":
        assert row["error"].startswith("given up after these ends:\n1. expired: ")
        return False
    last = history(client, zombie)[-1]
    assert exit_reason(last) == "succeeded"
    assert row["attempt"] == last.id != zombie.id
    return True


def history(client: CoordinatorClient, zombie: Attempt) -> list[Attempt]:
    """The attempts at a cell, from the stopped worker's on."""
    attempts = client.attempts(zombie.cell.key)
    return attempts[[attempt.id for attempt in attempts].index(zombie.id) :]


def ended(client: CoordinatorClient, job: Job) -> bool:
    return client.status(job.job_id).ended


def there(client: CoordinatorClient, zombie: Attempt, when: str) -> bool:
    """Whether the cell of a stopped worker is so far without it."""
    _, *others = history(client, zombie)
    over = [cell.cell.key for cell in client.cells(zombie.job_id, Page(states=OVER))]
    if zombie.cell.key in over:
        return True
    if when == "on its way again":
        return bool(others) and zombie.cell.key in {
            attempt.cell.key for attempt in running(client, zombie.job_id, step=30)
        }
    return when == "given to another" and bool(others)


def said_late(client: CoordinatorClient, zombies: Sequence[Attempt]) -> None:
    """Says to the coordinator what workers would that had not noticed that they are given up."""
    for zombie in zombies:
        outcome = Outcome(key=zombie.cell.key, n_test=10, n_wrong=0)
        report = Report(
            steps={zombie.id: 59},
            saved={zombie.id: 59},
            ended={zombie.id: outcome},
            log={zombie.id: "said late\n"},
        )
        assert ray.get(client._actor.report.remote("zombie", report)) == {zombie.id}


def test_a_worker_that_wakes_after_its_lease_changes_nothing_and_ends_itself(
    tmp_path: Path,
) -> None:
    wake(tmp_path, wanted=2, width=2, seed=0)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_two_hundred_workers_that_wake_after_their_lease_change_nothing(tmp_path: Path) -> None:
    wake(tmp_path, wanted=200, width=4, seed=1)


@pytest.mark.chaos
@pytest.mark.parametrize("sign", ["SIGSTOP", "SIGKILL"])
def test_a_worker_lost_before_its_first_word_is_noticed_within_a_lease_and_a_look(
    tmp_path: Path, sign: str
) -> None:
    with one_node(2, PYTHONPATH=str(TESTS)):
        client = serve(
            tmp_path, workers=1, lease_seconds=4.0, runner=f"support.faulty_services:{sign}"
        )
        job = make_job("job", models=["FCN"], distortions=["E"])
        client.submit(job)
        the_end(client, "job")
        first, second = client.attempts(job.cells[0].key)
        assert exit_reasons(client, first.cell.key) == [
            "expired" if sign == "SIGSTOP" else "died",
            "succeeded",
        ]
        assert counts(first)
        assert first.end is not None
        assert first.end.at is not None
        noticed = first.end.at - first.started_at
        slack = timedelta(seconds=2)  # for writing it down
        assert noticed < timedelta(seconds=4.0 + client.settings().scan_seconds) + slack
        assert second.worker.process != first.worker.process
        wait_until(lambda: not alive(first.worker.process), PATIENCE)
        client.stop(60)
