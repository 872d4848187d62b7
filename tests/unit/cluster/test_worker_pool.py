"""Worker pool: failed starts, lost nodes, and how Ray's errors are translated. Without Ray."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
from support.records import make_cell
from support.workers import CORE, HERE, FakePool, FakeWorker

from stn_cluster.cluster.placement import Node, WorkerState
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker_pool import (
    MAX_PAUSE,
    WorkerHandle,
    WorkerLostError,
    WorkerPool,
    WorkerUnavailableError,
    cause,
)
from stn_cluster.grid import Needs
from stn_cluster.queue.attempts import Attempt, WorkerInfo, utc_now

pytestmark = pytest.mark.anyio


def make_pool(max_failed_starts: int | None = None) -> FakePool:
    return FakePool(Settings(store="store", state="state", max_failed_starts=max_failed_starts))


# --- workers that fail to start ---


async def test_workers_that_fail_to_start_are_tried_again_ever_more_slowly() -> None:
    pool = make_pool()
    now, pauses = 0.0, []
    for _ in range(8):
        assert pool.may_start(CORE, now)
        pool.failed_to_start(CORE, WorkerLostError("no module"), now)
        later = now
        while not pool.may_start(CORE, later):
            later += 0.5
        pauses.append(later - now)
        now = later
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] == MAX_PAUSE
    assert pool.start_failure == "no worker starts (8 in a row): no module"


async def test_what_ray_does_not_take_is_a_reason_and_ends_nothing() -> None:
    pool = WorkerPool(Settings(store="store", state="state"), None)
    for needs in (
        Needs.model_construct(num_cpus=1e308, num_gpus=None),
        Needs(resources={"TPU": 3}),
    ):
        assert pool.start(needs, now=0.0) is None
        assert str(pool.start_failure).startswith("no worker can be requested with")
    assert pool.workers == {}


async def test_a_worker_that_starts_ends_the_row_of_failed_starts() -> None:
    pool = make_pool(max_failed_starts=2)
    pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    assert not pool.has_given_up
    worker = pool.start(CORE, now=0.0)
    assert pool.started_count == 0
    pool.has_started(worker, HERE)  # type: ignore[arg-type]
    assert (pool.start_failure, pool.started_count) == (None, 1)
    assert (worker.state, worker.info) == (WorkerState.IDLE, HERE)
    pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    assert not pool.has_given_up  # they were not in a row
    pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    assert pool.has_given_up


async def test_a_kind_that_fails_to_start_keeps_no_other_kind_from_starting() -> None:
    pool = make_pool(max_failed_starts=3)
    other = Needs(num_cpus=2)
    pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    assert not pool.may_start(CORE, now=0.1)
    assert pool.may_start(other, now=0.1)
    pool.has_started(pool.start(other, now=0.1), HERE)  # type: ignore[arg-type]
    assert pool.start_failure == "no worker starts (1 in a row): no module"
    assert not pool.may_start(CORE, now=0.1)


async def test_a_pool_without_a_limit_never_gives_up() -> None:
    pool = make_pool()
    for _ in range(100):
        pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    assert not pool.has_given_up


async def test_a_removed_worker_is_killed_and_forgotten() -> None:
    pool = make_pool()
    worker, other = pool.start(CORE, now=0.0), pool.start(CORE, now=0.0)
    pool.remove(worker)  # type: ignore[arg-type]
    pool.remove(worker)  # type: ignore[arg-type]
    assert (worker.killed, other.killed) == (True, False)
    assert list(pool.workers) == [other.name]


# --- nodes and the store, as workers see them ---


async def test_a_node_is_lost_once_it_was_seen_dead_and_not_when_it_was_never_seen() -> None:
    pool = make_pool()
    assert not pool.node_is_lost(HERE)
    pool.nodes = [Node("0", alive=False, resources={})]
    assert pool.node_is_lost(HERE)
    assert not pool.node_is_lost(WorkerInfo("", "", ""))  # it has not started
    pool.nodes = []
    assert not pool.node_is_lost(HERE)


async def test_the_pool_is_degraded_while_one_of_its_workers_cannot_reach_the_store() -> None:
    pool = make_pool()
    pool.start(CORE, now=0.0)
    worker = pool.start(CORE, now=0.0)
    assert pool.degraded_reason is None
    worker.state, worker.degraded_reason = WorkerState.BUSY, "s3://results: no route to host"
    assert pool.degraded_reason == "s3://results: no route to host"
    worker.state = WorkerState.IDLE  # its last report came late: it needs no store now
    assert pool.degraded_reason is None
    worker.state = WorkerState.BUSY
    pool.remove(worker)  # type: ignore[arg-type]
    assert pool.degraded_reason is None


# --- handles ---


class Method:
    """A method of an actor: `remote` returns what is awaited."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.arguments: list[tuple[object, ...]] = []

    async def _awaited(self) -> object:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def remote(self, *arguments: object) -> object:
        self.arguments.append(arguments)
        return self._awaited()


class Actor:
    """An actor whose methods come to these results."""

    def __init__(self, hello: object = HERE, train: object = None) -> None:
        self.hello, self.train = Method(hello), Method(train)


def make_attempt() -> Attempt:
    return Attempt("a", make_cell(), "j", pack_size=1, worker=HERE, started_at=utc_now())


async def test_a_handle_calls_its_actor() -> None:
    actor, attempt = Actor(), make_attempt()
    worker = WorkerHandle("w", CORE, actor, requested_at=0.0)
    assert await worker.hello() == HERE
    await worker.train([attempt])
    assert actor.train.arguments == [((attempt,),)]


async def test_a_pack_is_handed_over_before_anyone_waits_for_its_end() -> None:
    actor = Actor()
    training = WorkerHandle("w", CORE, actor, requested_at=0.0).train([make_attempt()])
    assert len(actor.train.arguments) == 1
    await training


@pytest.mark.parametrize(
    ("error", "node_lost"),
    [
        (ActorDiedError(), False),
        (RayError("The actor died because its node has died. Node Id: x"), True),
        (RayTaskError("train", "Traceback:\nMemoryError: no", MemoryError("no")), False),
    ],
)
async def test_errors_of_ray_are_lost_workers_and_tell_whether_the_node_went_too(
    error: RayError, node_lost: bool
) -> None:
    worker = WorkerHandle("w", CORE, Actor(hello=error, train=error), requested_at=0.0)
    for call in (worker.hello(), worker.train([make_attempt()])):
        with pytest.raises(WorkerLostError) as caught:
            await call
        assert caught.value.node_lost is node_lost
        assert str(caught.value) == cause(error)


async def test_a_broken_connection_is_no_lost_worker() -> None:
    error = ActorUnavailableError("the network", b"x" * 16)
    worker = WorkerHandle("w", CORE, Actor(hello=error), requested_at=0.0)
    with pytest.raises(WorkerUnavailableError, match="the network"):
        await worker.hello()


async def test_a_preempted_actor_has_lost_its_node() -> None:
    class PreemptedError(ActorDiedError):
        preempted = True

    worker = WorkerHandle("w", CORE, Actor(hello=PreemptedError()), requested_at=0.0)
    with pytest.raises(WorkerLostError) as caught:
        await worker.hello()
    assert caught.value.node_lost


def test_the_fake_worker_of_other_tests_has_the_interface_of_a_handle() -> None:
    fake = FakeWorker("w", CORE, requested_at=0.0)
    handle = WorkerHandle("w", CORE, actor=None, requested_at=0.0)
    for name in {field.name for field in fields(WorkerHandle)} - {"actor"}:
        assert getattr(fake, name) == getattr(handle, name)
    methods = [name for name, _ in inspect.getmembers(WorkerHandle, inspect.isfunction)]
    for name in [name for name in methods if not name.startswith("_")]:
        own, other = getattr(WorkerHandle, name), getattr(FakeWorker, name)
        assert inspect.signature(own) == inspect.signature(other)
        assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(other)


# --- causes ---


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
        (RayError("no file b\udcff.npz"), "no file b?.npz"),  # text that can be stored
    ],
)
def test_a_cause_is_one_line_without_rays_advice(error: RayError, said: str) -> None:
    assert said in cause(error)
    assert len(cause(error).splitlines()) == 1
    assert "common causes" not in cause(error)


async def test_failed_starts_of_a_kind_that_nobody_wants_any_more_are_forgotten() -> None:
    pool = make_pool()
    other = Needs(num_cpus=2)
    pool.failed_to_start(CORE, WorkerLostError("no module"), now=0.0)
    pool.forget_failures([CORE, other])
    assert pool.start_failure == "no worker starts (1 in a row): no module"
    pool.forget_failures([other])
    assert pool.start_failure is None
    assert pool.may_start(CORE, now=0.0)
