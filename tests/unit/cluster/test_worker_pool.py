"""Workers that die, and what is made of what Ray says of them."""

from __future__ import annotations

import pytest
from support.workers import CORE, HERE, add, make_crew, wants
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from stn_cluster.cluster.placement import Node
from stn_cluster.cluster.worker_pool import MAX_PAUSE, cause, ending_of
from stn_cluster.queue import ExitReason

# --- workers that do not live ---


def test_a_worker_that_dies_before_its_hello_is_followed_by_another_ever_more_slowly() -> None:
    crew = make_crew({"CPU": 1})
    now, pauses = 0.0, []
    for _ in range(8):
        assert crew.wanted([wants(CORE)], now) == [CORE]
        crew.stillborn(RayError("no module"), now)
        later = now
        while not crew.wanted([wants(CORE)], later):
            later += 0.5
        pauses.append(later - now)
        now = later
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] == MAX_PAUSE
    assert crew.trouble == "no worker starts (8 in a row): no module"


def test_one_that_lives_ends_the_trouble() -> None:
    crew = make_crew({"CPU": 1}, give_up_after=2)
    crew.stillborn(RayError("no module"), now=0.0)
    assert not crew.hopeless
    member = add(crew, CORE, begun=False)
    assert crew.working == 0
    crew.begun(member, HERE)
    assert (crew.trouble, crew.working) == (None, 1)
    crew.stillborn(RayError("no module"), now=0.0)
    assert not crew.hopeless  # they were not in a row
    crew.stillborn(RayError("no module"), now=0.0)
    assert crew.hopeless


def test_a_service_that_is_told_nothing_else_never_gives_up() -> None:
    crew = make_crew({"CPU": 1})
    for _ in range(100):
        crew.stillborn(RayError("no module"), now=0.0)
    assert not crew.hopeless


def test_a_workers_node_is_gone_once_it_was_seen_dead_and_not_when_it_was_never_seen() -> None:
    crew = make_crew({"CPU": 1})
    assert not crew.node_is_gone(HERE)
    crew.nodes = [Node("0", alive=False, resources={})]
    assert crew.node_is_gone(HERE)
    assert not crew.node_is_gone(None)
    crew.nodes = []
    assert not crew.node_is_gone(HERE)


# --- what Ray says ---


@pytest.mark.parametrize(
    ("error", "seen_gone", "ending"),
    [
        (ActorDiedError(), False, ExitReason.DIED),
        (ActorDiedError(), True, ExitReason.NODE_LOST),
        (
            RayError("The actor died because its node has died. Node Id: x"),
            False,
            ExitReason.NODE_LOST,
        ),
        (ActorUnavailableError("gone", b"x" * 16), False, ExitReason.DIED),
    ],
)
def test_an_end_is_the_nodes_where_the_node_went(
    error: RayError, seen_gone: bool, ending: ExitReason
) -> None:
    assert ending_of(error, seen_gone) is ending


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RayError("gone.\n\nSome common causes include: (1) many"), "gone."),
        (RayError("two\n lines"), "two lines"),
        (ActorDiedError(), "The actor died unexpectedly before finishing this task."),
        (ActorUnavailableError("lost", b"x" * 16), "lost"),
        (
            RayTaskError("train", "Traceback:\n  File x\nCudaError: no device", MemoryError()),
            "CudaError: no device",
        ),
    ],
)
def test_a_cause_is_one_line_without_rays_advice(error: RayError, said: str) -> None:
    assert said in cause(error)
    assert len(cause(error).splitlines()) == 1
    assert "common causes" not in cause(error)
