"""Pruning: jobs that have ended go, with their logs and checkpoints; or rows that newer ones
replace, with what belongs to them.

No service may be at work on the store: its lock is held, and that of the state. What an unfinished
job wants is not touched. A prune that was killed is finished by the same prune again, as what names
the rest goes last: a job's record, then its rows of the queue; of an attempt, its row of `cells`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stn_cluster.cluster.known_jobs import KnownJob, known_jobs
from stn_cluster.cluster.pruned_queue import PrunedQueue, pruned_queue
from stn_cluster.cluster.settings import STATE_FOLDER, Settings
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import HeldError, NotFoundError, StoreError, UserError, unknown
from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.queue.database import FILE
from stn_cluster.queue.old_jobs import (
    Forgotten,
    forget,
    pruned_jobs,
    queued_jobs,
    shrink,
    size,
    unfinished_keys,
)
from stn_cluster.store import Kind, Store, is_published
from stn_cluster.store.removal import OF_ATTEMPTS, AttemptFile, FoundRows, Removed, Remover

_AGE = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Choice of what is pruned: jobs that have ended, or rows of cells that newer ones replace.

    Raises:
        UserError: nothing is chosen.
    """

    jobs: tuple[str, ...] = ()  # ids: only these jobs, or rows of their attempts; empty: all
    older_than: timedelta | None = None  # only what ended, or was stored, longer ago
    superseded: bool = False  # rows, and not jobs
    keep_weights: bool = False  # final weights stay

    def __post_init__(self) -> None:
        if not self.jobs and self.older_than is None and not self.superseded:
            raise UserError(
                "choose what goes: --older-than AGE, --job ID, --superseded, or several of them, "
                "which all must match; with --dry-run nothing does"
            )


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Numbers of what was freed, or would be."""

    jobs: int
    logs: Removed
    checkpoints: Removed
    records: Removed
    rows: Mapping[Kind, Removed]
    queue: Forgotten
    queue_bytes: int
    not_shrunk: str | None = None  # why the queue's file has kept its size
    unknown: tuple[str, ...] = ()  # ids of jobs that stay, as nobody knows whether they have ended
    failure: str | None = None  # why not all of it was freed

    @property
    def total(self) -> Removed:
        """All of it."""
        found = sum(self.rows.values(), self.logs + self.checkpoints + self.records)
        return found + Removed(bytes=self.queue_bytes)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    jobs: tuple[KnownJob, ...] = ()
    logs: tuple[AttemptFile, ...] = ()
    checkpoints: tuple[AttemptFile, ...] = ()
    attempts: frozenset[str] = field(default_factory=frozenset)  # whose rows go
    rows: tuple[FoundRows, ...] = ()  # where these are
    unknown: tuple[str, ...] = ()


def parse_age(text: str) -> timedelta:
    """Duration of a text such as '30d' or '12h'.

    Raises:
        UserError: it is none.
    """
    found = _AGE.fullmatch(text.strip())
    try:
        if found is not None:
            age = timedelta(**{_UNITS[found[2]]: int(found[1])})
            datetime.now(UTC) - age  # the calendar has a beginning
            return age
    except OverflowError:
        pass
    raise UserError(f"--older-than: a whole number with s, m, h, d or w, as in 30d, not {text!r}")


def prune(settings: Settings, choice: Choice, *, dry_run: bool = False) -> Pruned:
    """Removes from a store and its queue what is chosen.

    Args:
        settings: names the store and the state.
        choice: what goes.
        dry_run: whether nothing is changed.

    Returns:
        What was freed; with `dry_run`, what would be.

    Raises:
        UserError: a named job has not ended, or there is none of this id.
        StoreError: the store is published, a service is at work on it, or a file of it cannot be
            used.
    """
    store, state = Store.open(settings.store), Path(settings.state)
    if is_published(settings.store):
        raise StoreError(f"{store.name}: is a published store, from which nothing is removed")
    own = store.local_path and store.local_path / STATE_FOLDER
    if state != own and not (state / FILE).exists():
        raise StoreError(f"{state}: there is no queue here; --state names the folder of one")
    with _locked(store, state, dry_run), pruned_queue(state, dry_run) as queue:
        # Files whose rows may go are read for these, once: each may be large.
        store.check(but=OF_ATTEMPTS if choice.superseded else ())
        plan = _plan(store, queue.db if queue else None, choice)
        for _ in Remover(store.uri, dry_run=True).remove_rows(plan.rows, plan.attempts):
            pass  # it fails before anything goes
        return _carry_out(plan, queue, Remover(store.uri, dry_run))


@contextmanager
def _locked(store: Store, state: Path, dry_run: bool) -> Iterator[None]:
    """Keeps services off; a dry run makes no lock where there has never been one.

    Raises:
        StoreError: a service is at work.
    """
    with ExitStack() as held:
        folder = store.local_path
        try:
            if folder is not None and (not dry_run or (folder / "lock").exists()):
                held.enter_context(store.lock())
            if (state / FILE).exists() and (not dry_run or (state / "lock").exists()):
                held.enter_context(lock_state_folder(state))
        except HeldError as error:
            raise HeldError(f"{error}; end that first, then prune") from error
        yield


# --- what goes ---


def _plan(store: Store, queue: sqlite3.Connection | None, choice: Choice) -> _Plan:
    remover = Remover(store.uri, dry_run=True)
    jobs = known_jobs(store, queued_jobs(queue) if queue else [])
    _check_named(choice, jobs, pruned_jobs(queue) if queue else set())
    unknown_jobs = [job for job in jobs if job.ended_at is None and not job.queued]
    unknown_ids = tuple(job.job_id for job in unknown_jobs)
    # A record does not tell which weights are evaluated.
    keep_weights = choice.keep_weights or any(job.evaluates for job in unknown_jobs)
    needed = {key for job in jobs if job.ended_at is None for key in job.keys}
    needed |= unfinished_keys(queue) if queue else set()
    before = None if choice.older_than is None else datetime.now(UTC) - choice.older_than
    if choice.superseded:
        attempts = remover.superseded(choice.jobs, before, without=needed)
        checkpoints = (c for c in remover.checkpoints() if c.attempt in attempts)
        return _Plan(
            logs=tuple(log for log in remover.logs() if log.attempt in attempts),
            checkpoints=tuple(c for c in checkpoints if not (keep_weights and _is_final(c))),
            attempts=frozenset(attempts),
            rows=tuple(remover.find_rows(attempts)),
            unknown=unknown_ids,
        )
    going = [job for job in jobs if _goes(job, choice, before)]
    ids = {job.job_id for job in going}
    needed |= {key for job in jobs if job.job_id not in ids for key in job.keys}
    keys = {key for job in going for key in job.keys} - needed
    checkpoints = (c for c in remover.checkpoints() if c.key in keys)
    return _Plan(
        jobs=tuple(going),
        logs=tuple(log for log in remover.logs() if log.key in keys),
        checkpoints=tuple(c for c in checkpoints if not (keep_weights and _is_final(c))),
        unknown=unknown_ids,
    )


def _check_named(choice: Choice, jobs: list[KnownJob], pruned: set[str]) -> None:
    """Raises UserError for a named job that is not known, or has not ended."""
    by_id = {job.job_id: job for job in jobs}
    for job_id in choice.jobs:
        if job_id not in by_id:
            if job_id in pruned:  # by the same command, which was killed perhaps
                continue
            raise NotFoundError(unknown("job", job_id, by_id) if by_id else f"no job {job_id!r}")
        job = by_id[job_id]
        if job.ended_at is None and job.queued:
            raise UserError(f"job {job_id!r} has not ended: cancel it first, or let it end")
        if job.ended_at is None:
            raise UserError(
                f"job {job_id!r} is not in this queue, and not all of its cells have succeeded: "
                "name the folder of its queue with --state"
            )


def _goes(job: KnownJob, choice: Choice, before: datetime | None) -> bool:
    named = not choice.jobs or job.job_id in choice.jobs
    return job.ended_at is not None and named and (before is None or job.ended_at < before)


def _is_final(checkpoint: AttemptFile) -> bool:
    """Whether it is a cell's final weights."""
    return checkpoint.name.endswith(f"/{WEIGHTS}")


# --- how it goes ---


class _Tally:
    """Numbers of what was freed until now."""

    def __init__(self) -> None:
        self.jobs = 0
        self.logs = self.checkpoints = self.records = Removed()
        self.rows: dict[Kind, Removed] = {}
        self.queue = Forgotten()
        self.queue_bytes = 0
        self.not_shrunk: str | None = None


def _carry_out(plan: _Plan, queue: PrunedQueue | None, remover: Remover) -> Pruned:
    tally, failure = _Tally(), None
    try:
        _remove(plan, queue, remover, tally)
    except StoreError as error:  # such as a full disk: what has gone has gone
        failure = str(error)
    return Pruned(
        jobs=tally.jobs,
        logs=tally.logs,
        checkpoints=tally.checkpoints,
        records=tally.records,
        rows=tally.rows,
        queue=tally.queue,
        queue_bytes=tally.queue_bytes,
        not_shrunk=tally.not_shrunk,
        unknown=plan.unknown,
        failure=failure,
    )


def _remove(plan: _Plan, queue: PrunedQueue | None, remover: Remover, tally: _Tally) -> None:
    """Removes what a plan has, in an order in which the same prune can go on.

    Raises:
        StoreError: the disk failed; the tally has what was freed until then.
    """
    for removed in remover.remove(plan.logs):
        tally.logs += removed
    for removed in remover.remove(plan.checkpoints):
        tally.checkpoints += removed
    ids = [job.job_id for job in plan.jobs]
    for removed in remover.remove_jobs(ids):
        tally.records += removed
    before = size(queue.db) if queue else 0
    if queue:
        with queue.errors("written"):
            tally.queue = forget(queue.db, ids, plan.attempts)
    tally.jobs = len(ids)
    try:
        for kind, removed in remover.remove_rows(plan.rows, plan.attempts):
            tally.rows[kind] = tally.rows.get(kind, Removed()) + removed
    except StoreError:
        if queue:
            _shrink(queue, before, tally)
        raise
    if queue:
        _shrink(queue, before, tally)


def _shrink(queue: PrunedQueue, before: int, tally: _Tally) -> None:
    """Makes the queue's file as small as it may be now."""
    try:
        shrink(queue.db)
        tally.queue_bytes = before - size(queue.db)
    except sqlite3.OperationalError as error:  # a copy needs room for a moment
        tally.not_shrunk = str(error)
    failpoint("prune-shrunk")
