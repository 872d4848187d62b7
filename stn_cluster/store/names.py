"""Rows of `cells` with the present names of distortions.

A stored name leaves out the variant that was the default when the row was written. The default may
have changed since; the row's spec has the variant, and the registry its present name.
"""

from __future__ import annotations

import re
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.dataset_info import FRAME
from stn_cluster.grid import base_distortion
from stn_cluster.registry import lookup, names, present_name

# Searched in a cell's JSON, as parsing the JSON of 100,000 rows would take seconds.
_READING = re.compile(r'"variant": ?"([^"]*)", ?"canvas": ?(\d+)')
_FRAME = re.compile(r'"data": ?\{"frame": ?(\d+)')  # absent for a frame of the usual size


def with_present_names(rows: pa.Table) -> pa.Table:
    """Renames distortions of rows with `distortion` and `spec`, also in `label` if present."""
    ambiguous = {name for name in pc.unique(rows["distortion"]).to_pylist() if _has_readings(name)}
    if not ambiguous:
        return rows
    stored, specs = rows["distortion"].to_pylist(), rows["spec"].to_pylist()
    present, rename = list(stored), cache(present_name)
    labels = rows["label"].to_pylist() if "label" in rows.schema.names else None
    for i, spec in enumerate(specs):
        reading = _READING.search(spec or "") if stored[i] in ambiguous else None
        if reading is None:
            continue
        framed = _FRAME.search(spec)
        frame = int(framed[1]) if framed else FRAME
        present[i] = rename(stored[i], reading[1], int(reading[2]), frame)
        if labels and present[i] != stored[i]:
            model, transform, _, seed = labels[i].split("/")
            labels[i] = "/".join([model, transform, present[i], seed])
    if present == stored:
        return rows
    rows = _replace(rows, "distortion", present)
    return _replace(rows, "label", labels) if labels else rows


def _has_readings(name: str | None) -> bool:
    """Whether a distortion has several variants, one of which names leave out."""
    base = base_distortion(name or "")
    return base in names("distortion") and len(lookup("distortion", base).variants) > 1


def _replace(rows: pa.Table, name: str, values: list[str]) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, rows.schema.field(index), pa.array(values, pa.string()))
