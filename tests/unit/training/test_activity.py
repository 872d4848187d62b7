"""Activity: whose code runs wherever a cell's own code may hang, and what counts as progress."""

from __future__ import annotations

import sys
import time

import pytest
import torch
from support.captures import Rounds

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.training.activity import Activity, Doing
from stn_cluster.training.trainer import PackTrainer

ITERATIONS = 8


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Two cells of one stream, of which the first may hang."""
    monkeypatch.delitem(sys.modules, "hanging_plugin", raising=False)  # so that it registers again
    config = {
        "plugins": ["hanging_plugin"],
        "dataset": "dots",
        "models": ["Hangs", "FCN"],
        "distortions": ["Slid"],
        "recipe": {"name": "smoke", "iterations": ITERATIONS, "evaluate_every": 4},
    }
    return resolve(parse_config(config))


class Visits:
    """What was being done at each place of the plug-in's code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.activity = Activity()
        self.seen: dict[str, list[Doing]] = {}
        monkeypatch.setattr(sys.modules["hanging_plugin"], "at", self.at)

    def at(self, place: str) -> None:
        self.seen.setdefault(place, []).append(self.activity.now)
        assert time.monotonic() - self.activity.now.since < 30  # and not since the beginning


def train(cells: list[Cell], visits: Visits, capture: Rounds | None = None) -> None:
    data = DataCache(None, torch.device("cpu"))
    trainer = PackTrainer(cells, data, capture=capture, activity=visits.activity)
    ended = [outcome for progress in trainer.run() for outcome in progress.ended]
    assert [outcome.error for outcome in ended] == [None] * len(cells)


def test_wherever_a_cells_code_runs_it_is_known_to_be_its(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(monkeypatch)
    train(cells, visits)
    hangs, other = (cell.key for cell in cells)
    places = {
        place: {(doing.what, doing.keys) for doing in seen} for place, seen in visits.seen.items()
    }
    assert places["loading"] == {("loads the data set dots", (hangs,))}
    assert places["building"] == {("builds its model", (hangs,))}
    steps = {(f"takes step {step}", (hangs,)) for step in range(1, ITERATIONS + 1)}
    assert places["training"] <= steps
    assert places["testing"] == {("takes step 4", (hangs,)), ("is tested", (hangs,))}
    # Both cells share the images.
    assert places["drawing"] == {
        ("makes its test set", (hangs,)),
        ("distorts its images", (hangs, other)),
    }
    assert places["distorting"] == places["drawing"]


def test_each_batch_that_is_tested_or_distorted_is_progress(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(monkeypatch)
    train(cells, visits)
    tested = [doing.since for doing in visits.seen["testing"] if doing.what == "is tested"]
    assert len(tested) == len(set(tested)) == 14  # of 1,400 images
    made = [d.since for d in visits.seen["distorting"] if d.what == "makes its test set"]
    assert len(made) == len(set(made)) == 2


def test_cells_whose_steps_are_replayed_together_share_what_runs(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(monkeypatch)
    train(cells, visits, Rounds())
    keys = tuple(cell.key for cell in cells)
    captured = [doing for doing in visits.seen["training"] if doing.keys == keys]
    assert captured  # a graph runs as a whole
    assert all(doing.what.startswith("takes step ") for doing in captured)
