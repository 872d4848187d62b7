"""Records of submitted jobs: JSON under jobs/, which hands other than ours may have touched."""

from __future__ import annotations

import json
from typing import Any

from stn_cluster.errors import StoreError

# Fields that have a type of their own wherever they are; a record need not have them all.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "cells": ((list,), "a list"),
    "evaluations": ((dict,), "an object"),
    "folder": ((str, type(None)), "a text or null"),
    "submitted_at": ((str,), "a text"),
}


def parse_job(name: str, content: bytes, where: str) -> dict[str, Any]:
    """Parses the record of a job.

    Args:
        name: of its file in the store.
        content: of its file.
        where: its file for people.

    Raises:
        StoreError: it is not the record of a job, or of another one than its file is named for.
    """
    folder, _, file = name.rpartition("/")
    if folder != "jobs":
        raise StoreError(f"{where}: lies deeper than records of jobs, which are files in jobs/")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict) or "cells" not in record:
        raise StoreError(f"{where}: not the record of a job")
    for field, (types, what) in _TYPES.items():
        if field in record and not isinstance(record[field], types):
            raise StoreError(f"{where}: not the record of a job: {field} must be {what}")
    job_id = file.removesuffix(".json")
    if record.setdefault("job_id", job_id) != job_id:
        # Whoever goes by the one would miss the other: what a job wants could be removed.
        raise StoreError(f"{where}: not the record of a job: its job_id is not the file's name")
    return record
