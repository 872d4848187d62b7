"""Jobs that a store and a queue know of: the queue's, and those of which there is only a record.

A record alone, of a queue that was lost or is elsewhere, does not tell whether its job has ended:
it has if all its cells have succeeded, and its evaluations since it was submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from stn_cluster.cluster.rows import stored_results
from stn_cluster.errors import StoreError
from stn_cluster.grid import Cell
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.old_jobs import QueuedJob
from stn_cluster.store import Store

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class KnownJob:
    """A job, with what it wants."""

    job_id: str
    ended_at: datetime | None  # UTC; None: it has not ended, or nobody knows
    keys: frozenset[str]  # of its cells and evaluations
    queued: bool  # whether the queue has it; else the store has its record alone
    evaluates: bool = False  # whether it has evaluations; told by a record alone


def known_jobs(store: Store, queued: Sequence[QueuedJob]) -> list[KnownJob]:
    """All jobs, those of the queue first.

    Args:
        store: the result store.
        queued: jobs of its queue.

    Raises:
        StoreError: a job's record is malformed, or of a newer version.
    """
    records = {record["job_id"]: record for record in store.jobs()}
    found = [
        KnownJob(
            job.job_id, job.ended_at, job.keys, True, records.pop(job.job_id, None) is not None
        )
        for job in queued
    ]
    if records:
        results = stored_results(store)
        found += [_recorded(store, record, results) for record in records.values()]
    return found


def _recorded(store: Store, record: Mapping[str, Any], results: KnownResults) -> KnownJob:
    name = f"{store.name}/jobs/{record['job_id']}.json"
    try:
        cells = {Cell.model_validate(spec).key for spec in record["cells"]}
        submitted = datetime.fromisoformat(record["submitted_at"])
        if submitted.tzinfo is None:
            raise ValueError("a time without its zone")
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{name}: it is from another version") from error
    evaluations = set(record.get("evaluations", {}))
    times = {
        key: _EPOCH + timedelta(microseconds=result.accepted_at)
        for key in cells | evaluations
        if (result := results.success(key)) is not None
    }
    # An evaluation's earlier success may be of earlier weights.
    since = cells | evaluations if record.get("force") else evaluations
    done = times.keys() >= cells | evaluations and all(times[key] >= submitted for key in since)
    return KnownJob(
        job_id=record["job_id"],
        ended_at=max(submitted, *times.values()) if done else None,
        keys=frozenset(cells | evaluations),
        queued=False,
        evaluates=bool(evaluations),
    )
