"""Rows of `cells` with the present names of distortions.

A stored name leaves out the variant that was the default when the row was written. The default may
have changed since; the row's spec has the variant, and the registry its present name.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.dataset_info import FRAME
from stn_cluster.grid import base_distortion
from stn_cluster.registry import lookup, names, present_name

# Searched in a cell's JSON, as parsing the JSON of 100,000 rows would take seconds.
_READING = r'"variant": ?"(?P<variant>[^"]*)", ?"canvas": ?(?P<canvas>[0-9]+)'
_FRAME = r'"data": ?\{"frame": ?(?P<frame>[0-9]+)'  # absent for a frame of the usual size
_END = "\n"  # between what is read of a spec, where none is


def with_present_names(rows: pa.Table) -> pa.Table:
    """Renames distortions of rows with `distortion` and `spec`, also in `label` if present."""
    ambiguous = [n for n in pc.unique(rows["distortion"]).to_pylist() if _has_readings(n)]
    if not ambiguous:
        return rows
    chosen = pc.is_in(rows["distortion"], pa.array(ambiguous, pa.string()))
    stored, specs = (rows[name].filter(chosen) for name in ("distortion", "spec"))
    reading = pc.extract_regex(specs, _READING)
    variant, canvas = (pc.struct_field(reading, name) for name in ("variant", "canvas"))
    frame = pc.struct_field(pc.extract_regex(specs, _FRAME), "frame")
    # Null where the spec has no reading: the name is left as it is.
    read = pc.binary_join_element_wise(stored, variant, canvas, frame.fill_null(str(FRAME)), _END)
    renamed = pc.coalesce(_mapped(read, _present), stored)
    present = _replaced(rows["distortion"], chosen, renamed)
    changed = pc.fill_null(pc.not_equal(present, rows["distortion"]), False)
    if not pc.any(changed).as_py():
        return rows
    rows = _with_column(rows, "distortion", present)
    if "label" not in rows.schema.names:
        return rows
    parts = pc.split_pattern(rows["label"].filter(changed), "/")
    model, transform, seed = (pc.list_element(parts, place) for place in (0, 1, 3))
    label = pc.binary_join_element_wise(model, transform, present.filter(changed), seed, "/")
    return _with_column(rows, "label", _replaced(rows["label"], changed, label))


def _present(read: str) -> str:
    stored, variant, canvas, frame = read.rsplit(_END, 3)
    return present_name(stored, variant, int(canvas), int(frame))


def _mapped(texts: pa.ChunkedArray, function: Callable[[str], str]) -> pa.ChunkedArray:
    """A function of each of a few different texts; null of null."""
    chunks = [
        pa.array([function(text) for text in chunk.dictionary.to_pylist()], pa.string()).take(
            chunk.indices
        )
        for chunk in texts.dictionary_encode().chunks
    ]
    return pa.chunked_array(chunks, pa.string())


def _replaced(
    values: pa.ChunkedArray, chosen: pa.ChunkedArray, others: pa.ChunkedArray
) -> pa.ChunkedArray:
    whole, mask, new = (one.combine_chunks() for one in (values, chosen, others))
    return pa.chunked_array([pc.replace_with_mask(whole, mask, new)])


def _with_column(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, rows.schema.field(index), values)


def _has_readings(name: str | None) -> bool:
    """Whether a distortion has several variants, one of which names leave out."""
    base = base_distortion(name or "")
    return base in names("distortion") and len(lookup("distortion", base).variants) > 1
