"""HTML by which notebooks show values: what `_repr_html_` returns.

All text is escaped: names and errors of user code are in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from stn_cluster.plain_text import one_line

MOST_ROWS = 200  # rows that are shown of a table


def html_fields(title: str, fields: Mapping[str, object]) -> str:
    """A title and a table of names and values; values that are None or '' are left out."""
    rows = [(name, value) for name, value in fields.items() if value is not None and value != ""]
    body = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows
    )
    return f"<p><b>{_text(title)}</b></p>\n<table><tbody>{body}</tbody></table>"


def html_rows(header: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    """A table of at most `MOST_ROWS` rows, which says how many more there are."""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = f"\n<p>and {len(rows) - MOST_ROWS:,} more</p>" if len(rows) > MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def in_one_line(values: Mapping[str, object]) -> str:
    """Names and values: 'iterations: 500, batch_size: 64'."""
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _text(value: object) -> str:
    return escape(one_line("" if value is None else str(value)))
