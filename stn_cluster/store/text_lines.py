"""Rows of `cells` as lines of CSV or JSON, column by column: no Python object for each value.

The lines are those of `as_csv` and `as_json` in `store.export`, of the frame of the same rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.plain_text import for_spreadsheet, in_json, plain_lines
from stn_cluster.store.shortest import shortest_of

_NOT_PLAIN = "[^ -~]"  # other than printable ASCII
_NOT_PLAIN_IN_CSV = rf"{_NOT_PLAIN}|^[=+\-@]"


def csv_lines(rows: pa.Table) -> pa.StringArray:
    """Rows as lines of CSV, each with its line break."""
    columns = [pc.fill_null(_csv(name, rows[name]), "") for name in rows.schema.names]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, ","), "\n", "")


def json_lines(rows: pa.Table) -> pa.StringArray:
    """Rows as objects of JSON, each with a comma and a line break before it."""
    parts: list[pa.Array | str] = []
    for name in rows.schema.names:
        before = ", " if parts else ",\n{"
        parts += [f'{before}"{name}": ', pc.fill_null(_json(name, rows[name]), "null")]
    return pc.binary_join_element_wise(*parts, "}", "")


def _csv(name: str, column: pa.ChunkedArray) -> pa.StringArray:
    values = column.combine_chunks()
    if not pa.types.is_string(values.type):
        texts = _plain(values, infinite="inf")
        if not pa.types.is_list(values.type):
            return texts
        quoted = pc.greater(pc.list_value_length(values), 1)  # has commas
        return pc.if_else(quoted, pc.binary_join_element_wise('"', texts, '"', ""), texts)
    texts = _mapped(values, _NOT_PLAIN_IN_CSV, lambda text: for_spreadsheet(_shown(name, text)))
    quoted = pc.match_substring_regex(texts, '[",]')
    inner = _escaped(texts.filter(quoted), b'"', b'""')
    return pc.replace_with_mask(texts, quoted, pc.binary_join_element_wise('"', inner, '"', ""))


def _json(name: str, column: pa.ChunkedArray) -> pa.StringArray:
    values = column.combine_chunks()
    if not pa.types.is_string(values.type):
        texts = _plain(values, infinite=None)
        times = pa.types.is_timestamp(values.type)
        return pc.binary_join_element_wise('"', texts, '"', "") if times else texts
    odd = pc.match_substring_regex(values, _NOT_PLAIN)
    inner = _escaped(_escaped(values, b"\\", b"\\\\"), b'"', b'\\"')
    texts = pc.binary_join_element_wise('"', inner, '"', "")
    encode = json.JSONEncoder(ensure_ascii=False).encode
    others = [in_json(encode(_shown(name, text))) for text in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(others, pa.string()))


def _shown(name: str, text: str) -> str:
    """Text as frames have it."""
    return plain_lines(text) if name == "error" else text


def _plain(values: pa.Array, infinite: str | None) -> pa.StringArray:
    """Numbers, times and lists as text."""
    if pa.types.is_timestamp(values.type):
        texts = values.cast(pa.timestamp("us")).cast(pa.string())
        texts = pc.utf8_replace_slice(texts, 10, 11, "T")
        return pc.binary_join_element_wise(texts, "Z", "")
    if pa.types.is_list(values.type):
        numbers = values.flatten().cast(pa.string())
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        offsets = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, numbers), ", ")
        texts = pc.binary_join_element_wise("[", joined, "]", "")
        return pc.if_else(values.is_valid(), texts, None)
    if pa.types.is_floating(values.type):
        return _floats(values, infinite)
    return values.cast(pa.string())


def _floats(values: pa.Array, infinite: str | None) -> pa.StringArray:
    """Shortest texts of numbers; null of those that are missing."""
    distinct = values.dictionary_encode()
    numbers = shortest_of(distinct.dictionary.to_numpy()).tolist()
    texts = [
        repr(number)
        if math.isfinite(number)
        else None
        if infinite is None or math.isnan(number)
        else repr(number)
        for number in numbers
    ]
    return pa.array(texts, pa.string()).take(distinct.indices)


def _mapped(values: pa.StringArray, odd: str, function: Callable[[str], str]) -> pa.StringArray:
    """Texts with a function of those that have something odd in them."""
    chosen = pc.match_substring_regex(values, odd)
    texts = [function(text) for text in values.filter(chosen).to_pylist()]
    return pc.replace_with_mask(values, chosen, pa.array(texts, pa.string())) if texts else values


def _escaped(texts: pa.StringArray, character: bytes, escape: bytes) -> pa.StringArray:
    """Texts with another text of two characters in place of one of them.

    `pc.replace_substring` takes four times as long, where there are very many of them.
    """
    if not len(texts):
        return texts
    if texts.offset:  # so that it is all of its buffers
        texts = pa.concat_arrays([texts, texts.slice(0, 0)])
    validity, offsets, data = texts.buffers()
    begins = np.frombuffer(offsets, np.int32)[: len(texts) + 1]
    content = data.to_pybytes()[: begins[-1]] if data else b""
    found = np.flatnonzero(np.frombuffer(content, np.uint8) == ord(character))
    moved = (begins + found.searchsorted(begins)).astype(np.int32)
    replaced = content.replace(character, escape)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(moved), pa.py_buffer(replaced), validity
    )
