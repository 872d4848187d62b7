"""State machine that performs the same steps on the queue and its model, and compares both."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, Needs
from stn_cluster.queue.attempts import Attempt, AttemptEnd, Checkpoint, ExitReason, WorkerInfo
from stn_cluster.queue.claim import claim
from stn_cluster.queue.database import FILE, connect, connect_reader
from stn_cluster.queue.finish import exhausted, finish, recover, requeue, save_checkpoints
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.submission import Submission
from stn_cluster.queue.submit import cancel, retry, submit
from support.queue_model import UNFINISHED, Model
from support.queue_watch import Watch
from support.queues import end_of, ends_told
from support.records import make_cell

HERE = WorkerInfo("here", "cpu", "2.11")
BIG = Needs(num_cpus=2)
COSTS = {"FCN": 1.0, "CNN": 2.0, "ST-CNN": 2.0}
CELLS = [
    make_cell(model, "affine" if model == "ST-CNN" else "none", seed=seed).model_copy(
        update={"cost": cost, "needs": BIG if (model, seed) == ("FCN", 1) else Needs()}
    )
    for seed in (0, 1)
    for model, cost in COSTS.items()
]
UNTESTED = CELLS[1].key  # its cells succeed without a test error
LOSSES = (ExitReason.DIED, ExitReason.EXPIRED, ExitReason.NODE_LOST, ExitReason.INTERRUPTED)
SOME_CELLS = [CELLS, CELLS[:3], CELLS[3:], CELLS[::-2], CELLS[1:5], CELLS[1:2]]
FATES = ["runs", "succeeds", "fails", "saves"]
which = st.integers(0, 5)


def new_folder() -> Path:
    """In-memory folder if there is one, as the queue syncs its disk very often."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="queue-", dir=memory if memory.is_dir() else None))


class QueueMachine(RuleBasedStateMachine):
    """Every rule is a step; numbers choose among the present items, modulo their count."""

    @initialize(cells=st.sampled_from(SOME_CELLS))
    def open(self, cells: list[Cell]) -> None:
        self.model = Model()
        self.known = KnownResults()
        self.claimed: dict[str, Attempt] = {}
        self.packs: list[list[str]] = []
        self.watch = Watch()
        self._open_in(new_folder())
        self.submit(cells, 1, False, False)

    def _open_in(self, folder: Path) -> None:
        self.folder = folder
        self.queue = connect(folder)
        self.reader = connect_reader(folder)

    def teardown(self) -> None:
        self.queue.close()
        self.reader.close()
        shutil.rmtree(self.folder)

    # --- jobs ---

    @precondition(lambda self: len(self.model.jobs) < 5)
    @rule(
        cells=st.sampled_from(SOME_CELLS),
        priority=st.integers(0, 2),
        force=st.booleans(),
        name=st.booleans(),
    )
    def submit(self, cells: list[Cell], priority: int, force: bool, name: bool) -> None:
        named = [cell.model_copy(update={"recipe": "mine"}) if name else cell for cell in cells]
        job = Job(f"job-{len(self.model.jobs)}", tuple(named), force=force, priority=priority)
        assert submit(self.queue, Submission.of(job), self.known)
        assert self.model.submit(job)

    @rule(which=which)
    def submit_again(self, which: int) -> None:
        job = self.model.jobs[self._job(which)].job
        assert not submit(self.queue, Submission.of(job), self.known)
        other = Job(job.job_id, job.cells, force=job.force, priority=job.priority + 1)
        with pytest.raises(UserError, match="already used by a job with other content"):
            submit(self.queue, Submission.of(other), self.known)

    @precondition(lambda self: self.jobs_with(*UNFINISHED))
    @rule(which=which, again=st.booleans(), late=st.lists(st.booleans(), max_size=2))
    def cancel(self, which: int, again: bool, late: list[bool]) -> None:
        """Cancels a job while some of its attempts are about to succeed or fail."""
        jobs = self.jobs_with(CellState.RUNNING) or self.jobs_with(CellState.QUEUED)
        job_id = jobs[which % len(jobs)]
        stopped = cancel(self.queue, job_id)
        assert set(stopped) == self.model.cancel(job_id)
        if again:
            assert retry(self.queue, job_id, self.known) == self.model.retry(job_id)
        stopped.sort(key=list(self.model.attempts).index)
        for name, ok in zip(stopped, late, strict=False):
            result = self._commit(name, ok)
            assert finish(self.queue, [result]) == [False] == [self.model.finish(result)]

    @precondition(lambda self: self.jobs_with(CellState.FAILED, CellState.CANCELLED))
    @rule(which=which)
    def retry(self, which: int) -> None:
        jobs = self.jobs_with(CellState.FAILED, CellState.CANCELLED)
        job_id = jobs[which % len(jobs)]
        assert retry(self.queue, job_id, self.known) == self.model.retry(job_id)

    # --- attempts ---

    @precondition(lambda self: self.model.queued())
    @rule(
        size=st.sampled_from([4, 3, 2, 1]),
        needs=st.sampled_from([Needs(), Needs(), BIG]),
        only=st.none() | which,
        fates=st.lists(st.sampled_from(FATES), max_size=4),
    )
    def work(self, size: int, needs: Needs, only: int | None, fates: list[str]) -> None:
        pack = self._claim(size, needs, None if only is None else self._job(only))
        for name, fate in zip(pack, fates, strict=False):
            if fate == "saves":
                self._save(name, 1)
            elif fate != "runs":
                self._finish([(name, fate == "succeeds")])

    def _claim(self, size: int, needs: Needs, job_id: str | None = None) -> list[str]:
        expected = self.model.next_pack(needs, size, job_id)
        attempts = claim(self.queue, needs, lambda first: size, HERE, job_id)
        assert [attempt.cell.key for attempt in attempts] == expected
        assert len({attempt.cell.stream for attempt in attempts}) <= 1
        for attempt in attempts:
            key = attempt.cell.key
            cell, owner = self.model.cells[key], self.model.owner(key)
            assert owner is not None
            assert attempt.job_id == owner.job.job_id
            assert attempt.cell in owner.job.cells  # with the job's own name of the recipe
            assert attempt.resume_from == cell.checkpoint
            assert attempt.pack_size == len(attempts)
            assert attempt.worker == HERE
            assert attempt.is_first == (cell.attempt is None)
            assert attempt.end is None
            self.model.begin(attempt.id, key, len(attempts))
            self.claimed[attempt.id] = attempt
        self.packs.append([attempt.id for attempt in attempts])
        return self.packs[-1]

    @precondition(lambda self: self.model.running())
    @rule(oks=st.lists(st.booleans(), min_size=1, max_size=3))
    def results(self, oks: list[bool]) -> None:
        self._finish(list(zip(self.model.running(), oks, strict=False)))

    def _finish(self, results: list[tuple[str, bool]]) -> None:
        group = [self._commit(name, ok) for name, ok in results]
        assert finish(self.queue, group) == [self.model.finish(result) for result in group]
        assert all(self.model.attempts[result.attempt].reason for result in group)

    @precondition(lambda self: self._closed())
    @rule(which=which, ok=st.booleans())
    def late_report(self, which: int, ok: bool) -> None:
        closed = self._closed()
        name = closed[which % len(closed)]
        assert finish(self.queue, [self._result(name, ok)]) == [False]
        assert save_checkpoints(self.queue, [Checkpoint(name, 8)]) == []
        assert requeue(self.queue, {name: AttemptEnd(ExitReason.DIED, "again")}) == []

    @precondition(lambda self: self.model.running())
    @rule(which=which, step=st.integers(1, 7))
    def save(self, which: int, step: int) -> None:
        self._save(self._running(which), step)

    def _save(self, name: str, step: int) -> None:
        saved = Checkpoint(name, step)
        assert save_checkpoints(self.queue, [saved]) == self.model.save_checkpoint(saved)

    @precondition(lambda self: self.model.running())
    @rule(which=which, reason=st.sampled_from(LOSSES))
    def lose_a_worker(self, which: int, reason: ExitReason) -> None:
        self._requeue(self._running(which), reason)

    @precondition(lambda self: self.model.queued(Needs()) and not self.model.running())
    @rule(times=st.sampled_from([2, 3, 20]), reason=st.sampled_from(LOSSES))
    def lose_every_worker(self, times: int, reason: ExitReason) -> None:
        for _ in range(times if reason is ExitReason.NODE_LOST else min(times, 3)):
            if self.model.queued(Needs()):
                self._claim(1, Needs())
                self._requeue(self.model.running()[-1], reason)

    @precondition(lambda self: self.model.exhausted())
    @rule()
    def fail_the_exhausted(self) -> None:
        found = exhausted(self.queue)
        assert {attempt.cell.key for attempt in found} == set(self.model.exhausted())
        for attempt in found:
            cell = self.model.cells[attempt.cell.key]
            assert attempt.id == cell.attempt
            assert len(ends_told(attempt)) == cell.failures + cell.node_losses
            claimed = replace(self.claimed[attempt.id], resume_from=None, is_first=False)
            assert replace(attempt, end=None) == claimed
            assert end_of(attempt).reason is self.model.attempts[attempt.id].reason
            result = self._commit(attempt.id, ok=False)
            assert finish(self.queue, [result]) == [True] == [self.model.finish(result)]

    # --- restarts of the coordinator ---

    @precondition(lambda self: self.model.attempts)
    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        folder = new_folder()
        if not killed:
            self.queue.close()
        for file in self.folder.glob(f"{FILE}*"):
            if not file.name.endswith("-shm"):  # a power cut leaves no partial state
                shutil.copy(file, folder)
        self.teardown()
        self._open_in(folder)
        self.known = KnownResults(reversed(self.model.store))
        ended, requeued = recover(self.queue, self.known)
        assert (ended, set(requeued)) == self.model.recover()

    @precondition(lambda self: self.model.running())
    @rule(which=which, ok=st.booleans(), killed=st.booleans())
    def die_between_store_and_queue(self, which: int, ok: bool, killed: bool) -> None:
        self._commit(self._running(which), ok)
        self.restart(killed)

    @invariant()
    def agree(self) -> None:
        """Everything that clients can see of the queue agrees with the model."""
        self.watch.compare(self.queue, self.model, self.reader)

    # --- helpers ---

    def _job(self, which: int) -> str:
        return list(self.model.jobs)[which % len(self.model.jobs)]

    def jobs_with(self, *states: CellState) -> list[str]:
        """Jobs with a cell in one of these states."""
        return [
            job_id
            for job_id in self.model.jobs
            if any(state in states for state in self.model.view(job_id).values())
        ]

    def _running(self, which: int) -> str:
        running = self.model.running()
        return running[which % len(running)]

    def _closed(self) -> list[str]:
        """Attempts that nothing is waited for from."""
        return [
            name
            for name, attempt in self.model.attempts.items()
            if attempt.reason is not None and not self.model.cells[attempt.key].exhausted
        ]

    def _result(self, name: str, ok: bool) -> StoredResult:
        key, time = self.model.attempts[name].key, self.model.watermark + 1
        if not ok:
            return StoredResult(key, name, time, error="ValueError: no")
        return StoredResult(key, name, time, test_error=None if key == UNTESTED else 5.0)

    def _commit(self, name: str, ok: bool) -> StoredResult:
        result = self._result(name, ok)
        self.model.store.append(result)
        self.known.add([result])
        return result

    def _requeue(self, name: str, reason: ExitReason) -> None:
        """A lost worker loses all its attempts, including those that had ended."""
        pack = next(pack for pack in self.packs if name in pack)
        requeued = requeue(self.queue, dict.fromkeys(pack, AttemptEnd(reason, "it went")))
        assert requeued == self.model.requeue(pack, reason)
