"""Who is hired and who makes room: decided by plain values, without a running Ray."""

from __future__ import annotations

from typing import Any

from support.workers import BIG, CORE, GPU, MANY, TWO_CORES, add, make_crew, wants
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.ray_model import Cluster

from stn_cluster.cluster.placement import Node, slots
from stn_cluster.cluster.worker_pool import PENDING_SECONDS
from stn_cluster.grid import Needs
from stn_cluster.queue import Demand

steady = settings(derandomize=True, deadline=None, max_examples=60)

kinds = st.sampled_from([CORE, TWO_CORES, Needs(num_cpus=4), GPU, Needs(num_gpus=0.5), BIG])
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


# --- whom to hire ---


def test_as_many_workers_are_hired_as_there_are_cells_and_room_and_leave() -> None:
    def hired(cells: int, **service: Any) -> int:
        crew = make_crew({"CPU": 4}, {"CPU": 2}, **service)
        return len(crew.wanted([wants(CORE, cells)], now=0.0))

    assert (hired(1), hired(3), hired(MANY)) == (1, 3, 6)
    assert (hired(3, workers=2), hired(MANY, workers=2), hired(MANY, workers=20)) == (2, 2, 6)


def test_workers_that_are_there_or_on_their_way_are_not_hired_twice() -> None:
    crew = make_crew({"CPU": 6})
    add(crew, CORE, busy=True)
    add(crew, CORE)
    add(crew, CORE, begun=False)
    assert len(crew.wanted([wants(CORE, 2)], now=0.0)) == 0  # one is idle, one comes
    assert len(crew.wanted([wants(CORE, 3)], now=0.0)) == 1
    assert len(crew.wanted([wants(CORE)], now=0.0)) == 3


def test_a_need_that_no_node_has_is_asked_for_once_and_takes_nobodys_place() -> None:
    crew = make_crew({"CPU": 2}, workers=2)
    demand = [wants(GPU, priority=1), wants(CORE)]
    assert crew.wanted(demand, now=0.0) == [GPU, CORE, CORE]
    for needs in (GPU, CORE, CORE):
        add(crew, needs, begun=needs is CORE)
    assert crew.wanted(demand, now=1000.0) == []
    assert not any(crew.yields(member, demand) for member in crew.members.values())


def test_what_cells_wait_for_that_no_node_has_is_told() -> None:
    crew = make_crew({"CPU": 2})
    crew.nodes.append(Node("gone", alive=False, resources={"GPU": 8.0}))
    demand = [wants(CORE), wants(GPU, 1), wants(BIG, 3), wants(Needs(num_cpus=3), 2)]
    assert crew.waiting(demand) == (
        "1 cell waits for a node with 1 GPU",
        "3 cells wait for a node with 1 CPU, 1 big",
        "2 cells wait for a node with 3 CPU",
    )
    crew.nodes.append(Node("new", alive=True, resources={"GPU": 1.0, "CPU": 3.0, "big": 1.0}))
    assert crew.waiting(demand) == ()


def test_a_crew_has_room_for_one_at_least_so_that_packs_can_be_sized() -> None:
    crew = make_crew({"CPU": 4}, workers=3)
    assert (crew.capacity(CORE), crew.capacity(TWO_CORES), crew.capacity(GPU)) == (3, 2, 1)


# --- who makes room ---


def test_a_worker_makes_room_between_packs_for_a_more_urgent_kind_that_has_none() -> None:
    crew = make_crew({"CPU": 2}, workers=2)
    members = [add(crew, CORE, busy=True) for _ in range(2)]
    demand = [wants(TWO_CORES, priority=1), wants(CORE)]
    assert crew.wanted(demand, now=0.0) == []
    assert all(crew.yields(member, demand) for member in members)
    assert not any(crew.yields(member, demand[::-1]) for member in members)


def test_a_worker_whose_kind_nothing_waits_for_makes_room_for_any_other() -> None:
    crew = make_crew({"CPU": 1})
    idle = add(crew, CORE)
    add(crew, BIG, at=0.0, begun=False)
    crew.nodes = [Node("0", True, {"CPU": 1.0, "big": 1.0})]
    demand = [wants(BIG)]
    crew.wanted(demand, now=PENDING_SECONDS - 1)
    assert not crew.yields(idle, demand)  # it may just be starting
    crew.wanted(demand, now=PENDING_SECONDS + 1)
    assert crew.yields(idle, demand)


def test_nobody_makes_room_while_every_kind_has_a_worker() -> None:
    crew = make_crew({"CPU": 4})
    members = [add(crew, CORE, busy=True), add(crew, CORE), add(crew, TWO_CORES, busy=True)]
    demand = [wants(TWO_CORES, priority=1), wants(CORE)]
    assert crew.wanted(demand, now=100.0) != [TWO_CORES]
    assert not any(crew.yields(member, demand) for member in members)


def test_nobody_is_hired_who_would_have_to_make_room_at_once() -> None:
    crew = make_crew({"CPU": 4})
    for _ in range(3):
        add(crew, CORE, busy=True)
    add(crew, Needs(num_cpus=4), begun=False)
    demand = [wants(Needs(num_cpus=4), priority=1), wants(CORE)]
    assert crew.wanted(demand, now=PENDING_SECONDS + 1) == []


def test_nobody_makes_room_for_a_kind_that_waits_no_more() -> None:
    crew = make_crew({"CPU": 2}, workers=2)
    members = [add(crew, CORE, busy=True), add(crew, CORE)]
    crew.wanted([wants(TWO_CORES, 1, priority=1), wants(CORE)], now=0.0)
    rest = [wants(CORE)]  # between two looks the others were taken, or cancelled
    assert not any(crew.yields(member, rest) for member in members)


def test_a_worker_that_would_make_no_room_for_those_who_wait_stays() -> None:
    crew = make_crew({"CPU": 2, "GPU": 1})
    first, busy = add(crew, CORE, busy=True), add(crew, GPU, busy=True)
    waiting = Needs(num_gpus=0.5)
    add(crew, waiting, begun=False)
    demand = [wants(waiting, 1, priority=1), wants(CORE), wants(GPU)]
    assert crew.wanted(demand, now=PENDING_SECONDS + 1) == [CORE]  # the other core is free
    assert crew.yields(busy, demand)
    assert not crew.yields(first, demand)


# --- over time ---


@steady
@given(
    nodes=st.lists(machines, min_size=1, max_size=3),
    waiting=some_pools,
    arrivals=arrivals,
    limit=limits,
    seed=st.integers(0, 10**6),
)
@example(  # the small must all make room at once, and others like them want to come
    nodes=[{"CPU": 8.0}],
    waiting=[wants(CORE, 400), wants(Needs(num_cpus=8), 3, priority=1)],
    arrivals=[0, 30],
    limit=None,
    seed=0,
)
def test_whatever_comes_in_whatever_order_all_that_a_node_can_train_is_trained(
    nodes: list[dict[str, float]],
    waiting: list[Demand],
    arrivals: list[int],
    limit: int | None,
    seed: int,
) -> None:
    cluster = Cluster(nodes, limit, seed)
    crew = cluster.crew

    def feasible(needs: Needs) -> bool:
        return slots(cluster.needed(needs), crew.nodes) > 0

    cells = sum(pool.cells for pool in waiting)
    deadline = 1000 + 40 * cells
    while cluster.now < deadline:
        for pool, arrival in zip(waiting, arrivals, strict=False):
            if arrival == cluster.now:
                cluster.submit(pool)
        asked = [pool.needs for pool in cluster.demand]
        hired = cluster.second()
        members = list(crew.members.values())
        assert all(needs in asked for needs in hired)
        present = [member for member in members if feasible(member.needs)]
        assert limit is None or len(present) <= limit
        absent = [member for member in members if not feasible(member.needs)]
        assert len({str(member.needs) for member in absent}) == len(absent)  # one of a kind
        if cluster.now > max(arrivals) and not any(feasible(n.needs) for n in cluster.demand):
            break
    left = {pool.needs.model_dump_json(): pool.cells for pool in cluster.demand}
    impossible = {
        pool.needs.model_dump_json(): pool.cells for pool in waiting if not feasible(pool.needs)
    }
    assert left == impossible
    assert cluster.hired <= 2 * cells  # processes are dear: they don't come only to go
