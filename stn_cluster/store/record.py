"""Records of ended attempts, and the Parquet files of a group of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from stn_cluster.store.parquet import encode
from stn_cluster.store.schema import SCHEMA_VERSION, Kind


@dataclass(frozen=True)
class Record:
    """Record of one attempt that ended its cell."""

    row: dict[str, Any]  # the columns of `cells` except accepted_at and schema_version
    curve: tuple[dict[str, Any], ...] = ()  # step, train_loss, lr, test_error (percent or None)
    # The columns of `predictions` except key, attempt and schema_version.
    predictions: dict[str, Any] | None = None


def to_files(records: Sequence[Record], accepted_at: Sequence[datetime]) -> dict[str, bytes]:
    """File names and contents, in the order in which they must be written.

    Args:
        records: ended attempts, at least one.
        accepted_at: time of acceptance of each.

    Raises:
        ValueError: a record's columns are not the schema's.
    """
    # Cells last: a reader who sees a cell's row also finds everything that belongs to it.
    rows: dict[Kind, list[dict[str, Any]]] = {"predictions": [], "curves": [], "cells": []}
    for record, time in zip(records, accepted_at, strict=True):
        origin = {
            "key": record.row["key"],
            "attempt": record.row["attempt"],
            "schema_version": SCHEMA_VERSION,
        }
        if record.predictions is not None:
            rows["predictions"].append({**record.predictions, **origin})
        rows["curves"].extend({**point, **origin} for point in record.curve)
        rows["cells"].append({**record.row, "accepted_at": time, **origin})
    name = file_name(accepted_at[0])
    return {f"{kind}/{name}": encode(kind, new) for kind, new in rows.items() if new}


def files_of_evaluations(
    rows: Sequence[Mapping[str, Any]], accepted_at: Sequence[datetime]
) -> dict[str, bytes]:
    """File name and content; a row's file is its commit point.

    Raises:
        ValueError: a row's columns are not the schema's.
    """
    complete = [
        {**row, "accepted_at": time, "schema_version": SCHEMA_VERSION}
        for row, time in zip(rows, accepted_at, strict=True)
    ]
    return {f"evaluations/{file_name(accepted_at[0])}": encode("evaluations", complete)}


def file_name(time: datetime) -> str:
    """Name of a file with rows of this time, which no other file has; names sort by time."""
    return f"{time:%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}.parquet"


def files_of_test_sets(rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """File names and contents, one file per test set, named after it, so that none exists twice.

    Raises:
        ValueError: a row's columns are not the schema's.
    """
    return {
        f"test_sets/{row['test_set']}.parquet": encode(
            "test_sets", [{**row, "schema_version": SCHEMA_VERSION}]
        )
        for row in rows
    }
