"""A crash at every boundary between two durable writes: recovery reaches the same final table.

All of submission, claim and result are hit here in the many lives of three services; `make chaos`
hits these and those of checkpoints and losses, each by itself, and all that evaluations of cells
pass which are trained already.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.packs import make_cells
from support.records import make_cell, make_record
from support.services import make_job, one_node, wait_until
from support.stored import train_into

from stn_cluster.cluster.connect import start
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.settings import Settings
from stn_cluster.failpoints import VARIABLE, Failpoint
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.queue.jobs import Job
from stn_cluster.store import Store

Points = tuple[Failpoint, ...]
Crashed = dict[Points, "Future[Store]"]

SECONDS = 600.0  # for a job, however often it is interrupted, on a busy machine
SIDE_BY_SIDE = 4  # services; each has one worker
P = Failpoint
pytestmark = pytest.mark.timeout(2 * SECONDS)

# Each service dies at the next of these that it comes by, until it has died at all of them.
TOGETHER: list[Points] = [
    (
        *(P.SUBMIT_RECEIVED, P.SUBMIT_WRITTEN, P.SUBMIT_COMMITTED, P.JOB_DRAFTED, P.JOB_RECORDED),
        *(P.CLAIM_WRITTEN, P.CLAIM_COMMITTED, P.CLAIM_HANDED_OVER),
    ),
    (
        *(P.WEIGHTS_WRITTEN, P.RESULT_RECEIVED, P.TEST_SETS_DRAFTED, P.TEST_SETS_WRITTEN),
        *(P.PREDICTIONS_DRAFTED, P.PREDICTIONS_WRITTEN),
        *(P.CURVES_DRAFTED, P.CURVES_WRITTEN),
    ),
    (
        *(P.CELLS_DRAFTED, P.CELLS_WRITTEN, P.RESULT_WRITTEN, P.RESULT_COMMITTED),
        *(P.STATE_DROPPED, P.EVALUATIONS_DRAFTED, P.EVALUATIONS_WRITTEN),
    ),
]
QUICK = TOGETHER[-1]  # the others, and each point by itself, take minutes
CHECKPOINTS = (P.CHECKPOINT_DRAFTED, P.CHECKPOINT_WRITTEN, P.CHECKPOINT_RECORDED)
REQUEUES = (P.REQUEUE_WRITTEN, P.REQUEUE_COMMITTED)
COMPACTION = (P.COMPACTION_WRITTEN, P.COMPACTION_REMOVED)  # of a store with many files
PRUNE = tuple(point for point in P if point.startswith("prune-"))  # no service comes by them
OF_CELLS = (
    *(P.WEIGHTS_WRITTEN, P.PREDICTIONS_DRAFTED, P.PREDICTIONS_WRITTEN),
    *(P.CURVES_DRAFTED, P.CURVES_WRITTEN, P.CELLS_DRAFTED, P.CELLS_WRITTEN),
)
# A loss is noted only where a worker has died.
BY_ITSELF: list[Points] = [
    (P.CHECKPOINT_WRITTEN, point) if point in REQUEUES else (point,)
    for point in P
    if point not in (*COMPACTION, *PRUNE)
]


# What a service comes by that has nothing to train; a loss only where a worker has died, as above.
OF_EVALUATIONS = [
    points for points in BY_ITSELF if not {*points} & {*CHECKPOINTS, *REQUEUES, *OF_CELLS}
]


def make_small_job() -> Job:
    """Four packs of two cells, each of several checkpoints, and two evaluations of each cell."""
    return make_job(
        "j",
        recipe={"name": "smoke", "iterations": 150},
        models=["FCN", "ST-FCN"],
        transforms=["none", "affine"],
        distortions=["R"],
        seeds=[0, 1, 2, 3],
        evaluate={"on": ["R", "E"]},
    )


def states(store: Store) -> list[str]:
    """The training states in a store: an ended cell goes on from nothing, and needs none."""
    cells = make_small_job().cells
    return [name for c in cells for _, name in store.checkpoints.of(c.key) if name != WEIGHTS]


def evaluation_job(store: Store) -> Job:
    """Two test sets, one of them at its worst of two, for each cell of a store."""
    asked = {"of": "store", "on": ["R", "E"], "worst_of": 2}
    return grid_job({"name": "j", "evaluate": asked}, job_id="j", store=store)


def run_with_crashes(
    points: Points, folder: Path, of: Callable[[Store], Job] = lambda _: make_small_job()
) -> Store:
    """The store of a service that ran the job, and died once at each of the points.

    Fails if a point was not come by, the job does not end, or training state is left behind.
    """
    store = Store.open(folder / "store", create=True)  # now: its own files are no results
    markers = {point: folder / point for point in points}
    settings = Settings(
        store=str(folder / "store"),
        state=str(folder / "state"),
        workers=1,
        heartbeat_seconds=0.5,
        checkpoint_steps=15,
    )
    # Whenever it starts, a coordinator notes what was lost before, also where that is nothing.
    counts = dict.fromkeys(REQUEUES, 2)
    faults = [f"{point}:{counts.get(point, 1)}:{marker}" for point, marker in markers.items()]
    client = start(settings, environment={VARIABLE: ",".join(faults)})
    client.submit(of(store))
    wait_until(lambda: client.status("j").ended, SECONDS, every=0.5)
    wait_until(lambda: all(marker.exists() for marker in markers.values()), 60)
    wait_until(lambda: not states(store), 60)
    assert client.settings() == settings  # it serves, perhaps again
    client.stop(60)
    return store


@contextmanager
def crashing(
    groups: Sequence[Points], folder: Path, run: Callable[[Points, Path], Store] = run_with_crashes
) -> Iterator[Crashed]:
    """Runs a service for each group of points, some side by side."""
    with one_node(SIDE_BY_SIDE), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        found = {}
        for number, points in enumerate(groups):
            (folder / str(number)).mkdir()
            found[points] = pool.submit(run, points, folder / str(number))
        try:
            yield found
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashed]:
    with crashing([QUICK, ()], tmp_path_factory.mktemp("together")) as found:
        yield found


@pytest.fixture(scope="module")
def by_itself(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashed]:
    with crashing([(), *BY_ITSELF, *TOGETHER[:-1]], tmp_path_factory.mktemp("by-itself")) as found:
        yield found


@pytest.fixture(scope="module")
def of_trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashed]:
    """Services that evaluate the cells of copies of one store."""
    trained = tmp_path_factory.mktemp("trained")
    cells = make_cells(models=["FCN", "ST-FCN"], transforms=["none", "affine"], distortions=["R"])
    train_into(Store.open(trained / "store", create=True), cells)

    def run(points: Points, folder: Path) -> Store:
        shutil.copytree(trained / "store", folder / "store")
        return run_with_crashes(points, folder, evaluation_job)

    with crashing([(), *OF_EVALUATIONS], tmp_path_factory.mktemp("of-trained"), run) as found:
        yield found


def table(store: Store) -> list[tuple[Any, ...]]:
    """All rows: what is the same however often it is computed, with the predictions."""
    return [*cells_of(store), *evaluations_of(store)]


def evaluations_of(store: Store) -> list[tuple[Any, ...]]:
    left_out = {"attempt", "accepted_at"}
    attempts = {row["attempt"] for row in store.read("cells").to_pylist()}
    rows = store.read("evaluations").to_pylist()
    assert {row["attempt"] for row in rows} <= attempts
    return sorted(
        tuple(str(value) for name, value in row.items() if name not in left_out) for row in rows
    )


def cells_of(store: Store) -> list[tuple[Any, ...]]:
    classes = store.read("predictions", columns=["attempt", "predictions"]).to_pylist()
    return sorted(
        (
            *(row[name] for name in ("key", "label", "status", "n_wrong", "test_error")),
            row["train_loss"],
            *(tuple(one["predictions"]) for one in classes if one["attempt"] == row["attempt"]),
        )
        for row in store.read("cells").to_pylist()
    )


def named(points: Points) -> str:
    return "+".join(points)


def test_no_point_is_left_out() -> None:
    hit_here = {point for points in TOGETHER for point in points}
    assert hit_here == set(Failpoint) - {*CHECKPOINTS, *REQUEUES, *COMPACTION, *PRUNE}


def test_crashes_one_after_the_other_change_nothing_in_the_table(together: Crashed) -> None:
    undisturbed = table(together[()].result())
    assert len(undisturbed) == 8 + 16
    assert table(together[QUICK].result()) == undisturbed


@pytest.mark.chaos
@pytest.mark.parametrize("points", [*BY_ITSELF, *TOGETHER[:-1]], ids=named)
def test_a_crash_changes_nothing_in_the_table(points: Points, by_itself: Crashed) -> None:
    store = by_itself[points].result()
    assert table(store) == table(by_itself[()].result())


@pytest.mark.chaos
@pytest.mark.parametrize("points", OF_EVALUATIONS, ids=named)
def test_a_crash_changes_no_evaluation_of_trained_cells_and_writes_none_twice(
    points: Points, of_trained: Crashed
) -> None:
    store, undisturbed = of_trained[points].result(), of_trained[()].result()
    rows = store.read("evaluations").to_pylist()
    assert len({(row["evaluation"], row["attempt"]) for row in rows}) == len(rows) == 8
    assert evaluations_of(store) == evaluations_of(undisturbed)
    assert cells_of(store) == cells_of(undisturbed)


@pytest.mark.chaos
def test_a_coordinator_that_dies_while_it_compacts_loses_and_doubles_no_row(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    for seed in range(10):
        store.commit([make_record(make_cell(seed=seed))])
    before = table(store)
    markers = [tmp_path / point for point in COMPACTION]
    faults = ",".join(f"{marker.name}:{marker}" for marker in markers)
    settings = Settings(store=store.uri, state=str(tmp_path / "state"), workers=1)
    with one_node(1):
        client = start(settings, environment={VARIABLE: faults})
        for kind in ("cells", "curves", "predictions"):
            files = tmp_path / "store" / kind
            wait_until(lambda files=files: len([*files.glob("2*.parquet")]) == 1, 120, every=0.5)
            assert table(Store.open(store.uri)) == before
        assert all(marker.exists() for marker in markers)
        client.stop(60)
