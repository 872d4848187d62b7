"""Rows of `cells` under the names that distortions have now.

A stored name leaves out what was plain when the row was written; its spec says what was trained.
Another reading of a distortion may have become the plain one since: then names follow the registry.
"""

from __future__ import annotations

import re
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.grid import base_distortion
from stn_cluster.registry import lookup, names, present_name

# In a cell's JSON; to parse all of that would take seconds for 100,000 rows.
_READING = re.compile(r'"variant": ?"([^"]*)", ?"canvas": ?(\d+)')


def with_present_names(rows: pa.Table) -> pa.Table:
    """Rows with `distortion` and `spec`; `label`, where it is there, follows."""
    ambiguous = {name for name in pc.unique(rows["distortion"]).to_pylist() if _has_readings(name)}
    if not ambiguous:
        return rows
    stored, specs = rows["distortion"].to_pylist(), rows["spec"].to_pylist()
    present, called = list(stored), cache(present_name)
    labels = rows["label"].to_pylist() if "label" in rows.schema.names else None
    for i, spec in enumerate(specs):
        reading = _READING.search(spec or "") if stored[i] in ambiguous else None
        if reading is None:
            continue
        present[i] = called(stored[i], reading[1], int(reading[2]))
        if labels and present[i] != stored[i]:
            model, transform, _, seed = labels[i].split("/")
            labels[i] = "/".join([model, transform, present[i], seed])
    if present == stored:
        return rows
    rows = _replace(rows, "distortion", present)
    return _replace(rows, "label", labels) if labels else rows


def _has_readings(name: str | None) -> bool:
    """Whether its variants, of which one is left out of the name, are several."""
    base = base_distortion(name or "")
    return base in names("distortion") and len(lookup("distortion", base).variants) > 1


def _replace(rows: pa.Table, name: str, values: list[str]) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, rows.schema.field(index), pa.array(values, pa.string()))
