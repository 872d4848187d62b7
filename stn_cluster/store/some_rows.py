"""Rows of one attempt, or of one test set, without making Python objects of all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.store.schema import Kind
from stn_cluster.store.store import Store


def read_where(
    store: Store, kind: Kind, column: str, value: str | None, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Rows of a kind whose column of text has a value, with all columns or those named."""
    rows = store.read(kind, columns)
    chosen: list[dict[str, Any]] = rows.filter(
        pc.equal(rows[column], pa.scalar(value, pa.string()))
    ).to_pylist()
    return chosen
