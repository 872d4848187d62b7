"""Logs of a cell's attempts, from the store alone: no service is needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pandas as pd

from stn_cluster.errors import NotFoundError, unknown
from stn_cluster.plain_text import plain_lines
from stn_cluster.store.store import Store

_ENDING = ("status", "error", "job_id")  # columns that say how an attempt ended


@dataclass(frozen=True)
class StoredLog:
    """Log of one attempt at a cell."""

    key: str  # the cell's key, or the evaluation's id
    attempt: str
    job_id: str | None  # None if the attempt did not end the cell
    ending: str  # 'succeeded', 'failed' or 'no result'
    text: str  # its log, and the error of a failure if that is not in the log


def stored_logs(store: Store, name: str) -> list[StoredLog]:
    """Logs of all attempts at a cell, oldest first.

    Args:
        store: the result store.
        name: key of a cell; or a label, which several cells may have; or id of an evaluation.

    Raises:
        NotFoundError: there is no such cell.
        StoreError: a file in the store cannot be read.
    """
    rows = store.results(latest=False).sort_values("accepted_at")
    labels: dict[str, str] = dict(zip(rows["key"], rows["label"], strict=True))
    labels |= {cell.key: cell.label for cell in store.submitted()}
    keys = [key for key, label in labels.items() if name in (key, label)]
    if not keys and (evaluated := _evaluations(store, name)):
        return evaluated
    if not keys and store.logs.attempts(name):
        keys = [name]  # of an older version, whose job has another key now
    if not keys:
        near = unknown("cell", name, labels.values()).partition("allowed")[0].rstrip()
        raise NotFoundError(f"{near} give a label, as in ST-CNN/tps/RTS/seed0, or a key")
    return [log for key in keys for log in _logs(store, key, rows[rows["key"] == key])]


def _evaluations(store: Store, name: str) -> list[StoredLog]:
    """Logs of an evaluation, oldest first; [] if it has not ended.

    Its rows name the attempt whose weights were evaluated, and not the one that did so: the newest
    row is taken to be of the newest log, and so on, as a lost attempt is followed by another.
    """
    rows = store.read("evaluations", columns=["evaluation", *_ENDING, "accepted_at"]).to_pylist()
    ended = [row for row in rows if row["evaluation"] == name]
    if not ended:
        return []
    ended.sort(key=lambda row: row["accepted_at"], reverse=True)
    attempts = [attempt for _, attempt in sorted(store.logs.attempts(name), reverse=True)]
    found = zip_longest(attempts, ended[: len(attempts) or None])
    return [_log(store, name, attempt or "", row) for attempt, row in found][::-1]


def _logs(store: Store, key: str, rows: pd.DataFrame) -> list[StoredLog]:
    ended = {row["attempt"]: row for row in rows.to_dict("records")}
    logged = sorted(store.logs.attempts(key), key=lambda log: (log[0], log[1] in ended))
    attempts = dict.fromkeys([*(attempt for _, attempt in logged), *ended])
    return [_log(store, key, attempt, ended.get(attempt)) for attempt in attempts]


def _log(store: Store, key: str, attempt: str, row: dict[Any, Any] | None) -> StoredLog:
    text = plain_lines((attempt and store.logs.read(key, attempt)) or "")
    if row is None:
        return StoredLog(key, attempt, None, "no result", text)
    error = plain_lines(row["error"]) if isinstance(row["error"], str) else ""
    if error not in text:
        text += error.rstrip() + "\n"
    return StoredLog(key, attempt or "(unknown)", row["job_id"], row["status"], text)
