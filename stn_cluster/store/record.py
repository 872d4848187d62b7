"""One ended attempt, and the Parquet files that a group of them becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np

from stn_cluster.store.schema import SCHEMA_VERSION, Kind, encode


@dataclass(frozen=True)
class Record:
    """One attempt that ended its cell."""

    row: dict[str, Any]  # the columns of `cells`, but accepted_at and schema_version
    curve: tuple[dict[str, Any], ...] = ()  # step, train_loss, lr, test_error (percent or None)
    predictions: bytes | None = None  # uint8 class of each test image, in the test set's order


def to_files(records: Sequence[Record], accepted_at: Sequence[datetime]) -> dict[str, bytes]:
    """File names and contents, in the order in which they are to be written.

    Args:
        records: ended attempts, at least one.
        accepted_at: when each was accepted.

    Raises:
        ValueError: a record's columns are not the schema's.
    """
    # Cells last: whoever sees a cell's row finds all that belongs to it.
    rows: dict[Kind, list[dict[str, Any]]] = {"predictions": [], "curves": [], "cells": []}
    for record, time in zip(records, accepted_at, strict=True):
        origin = {
            "key": record.row["key"],
            "attempt": record.row["attempt"],
            "schema_version": SCHEMA_VERSION,
        }
        if record.predictions is not None:
            classes = np.frombuffer(record.predictions, dtype=np.uint8)
            rows["predictions"].append({"predictions": classes, **origin})
        rows["curves"].extend({**point, **origin} for point in record.curve)
        rows["cells"].append({**record.row, "accepted_at": time, **origin})
    name = f"{accepted_at[0]:%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}.parquet"  # sorts by time
    return {f"{kind}/{name}": encode(kind, some) for kind, some in rows.items() if some}
