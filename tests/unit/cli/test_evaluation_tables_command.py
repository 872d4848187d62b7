"""`transfer` and `robustness`: what they say beside their tables."""

from __future__ import annotations

import pytest
from support.records import make_cell, make_evaluation_row, make_record
from support.refusals import Command, assert_refused, make_command

from stn_cluster.store import Store

CELL = make_cell("CNN", "none", "R")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("STN_CLUSTER_SERVER", raising=False)
    return make_command(monkeypatch, capsys)


@pytest.mark.parametrize("kind", ["transfer", "robustness"])
def test_evaluations_that_are_due_again_are_said(kind: str, store: Store, command: Command) -> None:
    store.commit([make_record(CELL, attempt="a")])
    store.commit_evaluations([make_evaluation_row(CELL, "E", 2.5, "a")])
    told = command(kind, "--store", store.uri)
    assert (told.code, told.err) == (0, "")
    assert "2.50" in told.out
    store.commit([make_record(CELL, attempt="b")])
    told = command(kind, "--store", store.uri)
    assert (told.code, "2.50" in told.out) == (0, False)
    assert told.err == "1 evaluation is due again, as the cell was trained anew since\n"


@pytest.mark.parametrize("kind", ["transfer", "robustness"])
def test_filters_that_match_no_cell_are_refused(kind: str, store: Store, command: Command) -> None:
    store.commit([make_record(CELL)])
    assert_refused(command(kind, "--store", store.uri, "--model", "CNM"), "no cell matches")
