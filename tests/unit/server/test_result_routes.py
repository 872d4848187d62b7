"""The table over HTTP, by its route alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.graded_stores import commit, drawn

from stn_cluster import UserError, comparison_table
from stn_cluster.report.render import render
from stn_cluster.server.backend import Backend
from stn_cluster.server.result_routes import TableQuery, table
from stn_cluster.store import Store

ROWS = {("FCN", "none"): 0.10, ("CNN", "none"): 0.04}


def text(store: Store, **query: Any) -> str:
    response = table(TableQuery(**query), Backend(client=cast(Any, None), store=store))
    return bytes(response.body).decode()


def test_the_table_has_intervals_and_marks_if_asked(store: Store) -> None:
    commit(store, drawn(ROWS))
    for format in ("text", "csv"):
        plain = render(comparison_table(store, model="CNN"), format)
        assert text(store, format=format, model=["CNN"]) == plain
        marked = render(comparison_table(store, interval=True), format)
        assert text(store, format=format, interval=True) == marked
    assert "Benjamini" in text(store, interval=True, correction="benjamini-hochberg")
    with pytest.raises(UserError, match="did you mean 'holm'"):
        text(store, interval=True, correction="hulm")
