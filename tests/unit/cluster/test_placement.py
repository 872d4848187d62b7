"""Placement: which workers are started, and which are released, decided on plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.ray_model import Cluster
from support.workers import (
    BIG,
    CORE,
    GPU,
    MANY,
    TWO_CORES,
    PlacedWorker,
    make_nodes,
    queued,
)

from stn_cluster.cluster.placement import (
    PENDING_SECONDS,
    UNPLACED_SECONDS,
    WORKER_BYTES,
    Node,
    Plan,
    WorkerState,
    capacity,
    plan_workers,
    required,
    should_release,
    slots,
    unplaced,
    unsatisfiable,
)
from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import Needs
from stn_cluster.queue.claim import Demand

STARTING, IDLE, BUSY = WorkerState.STARTING, WorkerState.IDLE, WorkerState.BUSY
ALL_CORES = Needs(num_cpus=4)
steady = settings(derandomize=True, deadline=None, max_examples=60)

kinds = st.sampled_from([CORE, TWO_CORES, ALL_CORES, GPU, Needs(num_gpus=0.5), BIG])
machines = st.fixed_dictionaries(
    {"CPU": st.integers(1, 8).map(float)},
    optional={"GPU": st.integers(1, 2).map(float), "big": st.just(1.0)},
)
pools = st.builds(
    Demand, needs=kinds, cells=st.integers(1, 40), priority=st.integers(0, 2), job=st.integers(1, 9)
)
some_pools = st.lists(pools, max_size=5, unique_by=lambda pool: pool.needs.model_dump_json())
arrivals = st.lists(st.integers(0, 60), min_size=5, max_size=5)  # seconds, of some_pools
limits = st.none() | st.integers(1, 5)


def limited(workers: int | None) -> Settings:
    """Settings that allow so many workers."""
    return Settings(store="store", state="state", workers=workers)


def plan(
    demand: Sequence[Demand],
    workers: Sequence[PlacedWorker],
    nodes: Sequence[Node],
    now: float = 0.0,
    limit: int | None = None,
) -> Plan:
    return plan_workers(demand, workers, nodes, limited(limit), now)


def released(
    workers: Sequence[PlacedWorker], made: Plan, demand: Sequence[Demand], limit: int | None = None
) -> list[bool]:
    """Whether each of the workers is to make room."""
    return [should_release(w.needs, made, demand, limited(limit)) for w in workers]


# --- which workers to start ---


def test_as_many_workers_are_started_as_there_are_cells_and_room_and_the_limit_allows() -> None:
    nodes = make_nodes({"CPU": 4}, {"CPU": 2})

    def started(cells: int, limit: int | None = None) -> int:
        return len(plan([queued(CORE, cells)], [], nodes, limit=limit).start)

    assert (started(1), started(3), started(MANY)) == (1, 3, 6)
    assert (started(3, limit=2), started(MANY, limit=2), started(MANY, limit=20)) == (2, 2, 6)


def test_workers_that_are_there_or_on_their_way_are_not_started_twice() -> None:
    nodes = make_nodes({"CPU": 6})
    workers = [PlacedWorker(CORE, state) for state in (BUSY, IDLE, STARTING)]
    assert len(plan([queued(CORE, 2)], workers, nodes).start) == 0  # one is idle, one comes
    assert len(plan([queued(CORE, 3)], workers, nodes).start) == 1
    assert len(plan([queued(CORE)], workers, nodes).start) == 3


def test_a_need_that_no_node_has_is_asked_for_once_and_takes_nobodys_place() -> None:
    nodes = make_nodes({"CPU": 2})
    demand = [queued(GPU, priority=1), queued(CORE)]
    assert plan(demand, [], nodes, limit=2).start == (GPU, CORE, CORE)
    workers = [PlacedWorker(GPU, STARTING), PlacedWorker(CORE), PlacedWorker(CORE)]
    made = plan(demand, workers, nodes, now=1000.0, limit=2)
    assert made.start == ()
    assert not any(released(workers, made, demand, limit=2))


def test_cells_that_wait_for_a_node_that_is_not_there_are_told_in_sentences() -> None:
    nodes = [*make_nodes({"CPU": 2}), Node("gone", alive=False, resources={"GPU": 8.0})]
    demand = [queued(CORE), queued(GPU, 1), queued(BIG, 3), queued(Needs(num_cpus=3), 2)]
    assert unsatisfiable(demand, nodes, limited(None)) == (
        "1 cell waits for a node with 1 GPU",
        "3 cells wait for a node with 1 CPU, 1 big",
        "2 cells wait for a node with 3 CPU",
    )
    nodes.append(Node("new", alive=True, resources={"GPU": 1.0, "CPU": 3.0, "big": 1.0}))
    assert unsatisfiable(demand, nodes, limited(None)) == ()


def test_cells_whose_workers_find_no_room_for_a_while_are_told_of() -> None:
    nodes = make_nodes({"CPU": 4})
    demand = [queued(CORE, 3), queued(GPU, 1)]
    pending = PlacedWorker(CORE, WorkerState.STARTING, requested_at=100.0)
    soon, later = 100.0 + UNPLACED_SECONDS, 100.1 + UNPLACED_SECONDS
    assert unplaced(demand, [pending], nodes, limited(None), soon) == ()
    told = ("3 cells wait until there is room for 1 CPU",)
    assert unplaced(demand, [pending], nodes, limited(None), later) == told
    starting = replace(pending, heard_at=101.0)  # its process runs
    assert unplaced(demand, [pending, starting], nodes, limited(None), later) == ()
    assert unplaced(demand, [pending], [], limited(None), later) == ()  # then it is the node


@pytest.mark.parametrize(("needs", "workers"), [(CORE, 3), (TWO_CORES, 2), (GPU, 1)])
def test_capacity_is_limited_by_nodes_and_settings_and_one_at_least(
    needs: Needs, workers: int
) -> None:
    assert capacity(needs, make_nodes({"CPU": 4}), limited(3)) == workers


# --- which workers to release ---


def test_a_worker_is_released_between_packs_for_a_more_urgent_kind_that_has_none() -> None:
    nodes = make_nodes({"CPU": 2})
    workers = [PlacedWorker(CORE, BUSY), PlacedWorker(CORE, BUSY)]
    demand = [queued(TWO_CORES, priority=1), queued(CORE)]
    made = plan(demand, workers, nodes, limit=2)
    assert made == Plan(start=(), starved=TWO_CORES, full=True)
    assert all(released(workers, made, demand, limit=2))
    assert not any(released(workers, made, demand[::-1], limit=2))


def test_a_worker_whose_kind_no_cell_needs_is_released_for_any_other() -> None:
    nodes = make_nodes({"CPU": 1, "big": 1})
    idle, pending = PlacedWorker(CORE), PlacedWorker(BIG, STARTING)
    demand = [queued(BIG)]
    early = plan(demand, [idle, pending], nodes, now=PENDING_SECONDS - 1)
    assert released([idle], early, demand) == [False]  # the other may just be starting
    late = plan(demand, [idle, pending], nodes, now=PENDING_SECONDS + 1)
    assert released([idle], late, demand) == [True]


def test_no_worker_is_released_while_every_kind_has_one() -> None:
    nodes = make_nodes({"CPU": 4})
    workers = [PlacedWorker(CORE, BUSY), PlacedWorker(CORE), PlacedWorker(TWO_CORES, BUSY)]
    demand = [queued(TWO_CORES, priority=1), queued(CORE)]
    made = plan(demand, workers, nodes, now=100.0)
    assert made.start != (TWO_CORES,)
    assert made.starved is None
    assert not any(released(workers, made, demand))


def test_no_worker_is_started_that_would_be_released_at_once() -> None:
    nodes = make_nodes({"CPU": 4})
    workers = [PlacedWorker(CORE, BUSY)] * 3 + [PlacedWorker(ALL_CORES, STARTING)]
    demand = [queued(ALL_CORES, priority=1), queued(CORE)]
    assert plan(demand, workers, nodes, now=PENDING_SECONDS + 1).start == ()


def test_no_worker_is_released_for_a_kind_that_has_left_the_queue_since_the_plan() -> None:
    nodes = make_nodes({"CPU": 2})
    workers = [PlacedWorker(CORE, BUSY), PlacedWorker(CORE)]
    demand = [queued(TWO_CORES, 1, priority=1), queued(CORE)]
    made = plan(demand, workers, nodes, limit=2)
    assert any(released(workers, made, demand, limit=2))
    assert not any(released(workers, made, [queued(CORE)], limit=2))  # taken, or cancelled


def test_a_worker_that_holds_nothing_of_what_is_missing_stays() -> None:
    nodes = make_nodes({"CPU": 2, "GPU": 1})
    half = Needs(num_gpus=0.5)
    cpu, gpu = PlacedWorker(CORE, BUSY), PlacedWorker(GPU, BUSY)
    demand = [queued(half, 1, priority=1), queued(CORE), queued(GPU)]
    workers = [cpu, gpu, PlacedWorker(half, STARTING)]
    made = plan(demand, workers, nodes, now=PENDING_SECONDS + 1)
    assert made.start == (CORE,)  # the other core is free
    assert released([cpu, gpu], made, demand) == [False, True]


# --- over time ---


@steady
@given(
    nodes=st.lists(machines, min_size=1, max_size=3),
    waiting=some_pools,
    arrivals=arrivals,
    limit=limits,
    seed=st.integers(0, 10**6),
)
@example(  # the small must all be released at once, and others like them would be started
    nodes=[{"CPU": 8.0}],
    waiting=[queued(CORE, 400), queued(Needs(num_cpus=8), 3, priority=1)],
    arrivals=[0, 30],
    limit=None,
    seed=0,
)
def test_in_whatever_order_cells_come_all_that_a_node_can_train_are_trained(
    nodes: list[dict[str, float]],
    waiting: list[Demand],
    arrivals: list[int],
    limit: int | None,
    seed: int,
) -> None:
    cluster = Cluster(nodes, limit, seed)

    def feasible(needs: Needs) -> bool:
        return slots(required(needs, cluster.settings), cluster.nodes) > 0

    cells = sum(pool.cells for pool in waiting)
    deadline = 1000 + 40 * cells
    while cluster.now < deadline:
        for pool, arrival in zip(waiting, arrivals, strict=False):
            if arrival == cluster.now:
                cluster.submit(pool)
        asked = [pool.needs for pool in cluster.demand]
        started = cluster.second().start
        assert all(needs in asked for needs in started)
        present = [worker for worker in cluster.workers if feasible(worker.needs)]
        assert limit is None or len(present) <= limit
        absent = [worker for worker in cluster.workers if not feasible(worker.needs)]
        assert len({str(worker.needs) for worker in absent}) == len(absent)  # one of a kind
        if cluster.now > max(arrivals) and not any(feasible(n.needs) for n in cluster.demand):
            break
    left = {pool.needs.model_dump_json(): pool.cells for pool in cluster.demand}
    impossible = {
        pool.needs.model_dump_json(): pool.cells for pool in waiting if not feasible(pool.needs)
    }
    assert left == impossible
    assert cluster.started <= 2 * cells  # processes are dear: none is started to be released


def test_a_nodes_memory_bounds_its_workers_whatever_they_ask_for() -> None:
    """Needs of almost nothing would start workers until the machine has no memory left."""
    tiny = {"CPU": 0.05}
    node = Node("a", True, {"CPU": 64.0, "memory": 8e9})
    assert slots(tiny, [node]) == int(8e9 / WORKER_BYTES)
    assert slots({"CPU": 8.0}, [node]) == 8  # cores are the closer bound
    small = Node("b", True, {"CPU": 1.0, "memory": 1e8})
    assert slots(tiny, [small]) == 1
    assert slots({"CPU": 2.0}, [small]) == 0
    unknown = Node("c", True, {"CPU": 2.0})
    assert slots(tiny, [unknown]) == 40


def test_a_worker_that_imports_for_long_takes_nobodys_place() -> None:
    other = Needs(num_gpus=0.5)
    nodes = make_nodes({"GPU": 2, "CPU": 8})
    demand = [queued(GPU, priority=1), queued(other)]
    for heard_at, starved in ((0.0, GPU), (2.0, None)):
        starting = PlacedWorker(GPU, STARTING, requested_at=0.0, heard_at=heard_at)
        made = plan(demand, [starting, PlacedWorker(other, BUSY)], nodes, now=60.0, limit=2)
        assert made.starved == starved
