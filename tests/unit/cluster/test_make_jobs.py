"""Jobs of cells to train anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.plugin_sources import a_model, cells_of, write
from support.plugin_state import plugins_forgotten
from support.records import make_record

from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.store import Store


def cell(model: str) -> Cell:
    config = {"recipe": "smoke", "models": [model], "distortions": ["R"]}
    return resolve(parse_config(config))[0]


def test_asked_for_twice_it_is_the_same_job_whatever_has_ended_meanwhile(store: Store) -> None:
    fcn, cnn = cell("FCN"), cell("CNN")  # in the table, FCN comes first
    cells = [one.model_dump(mode="json") for one in (fcn, cnn)]
    record = {"submitted_at": datetime.now(UTC).isoformat(), "config": "{}", "cells": cells}
    store.write_job("job", {"job_id": "job", **record})
    store.commit([make_record(cnn)])
    first = rerun_job(store, {})
    store.commit([make_record(fcn)])
    again = rerun_job(store, {})
    assert {one.key for one in first.cells} == {fcn.key, cnn.key}
    assert again.cells == first.cells
    assert again.digest == first.digest
    assert first.force


def committed(store: Store, folder: Path, source: str) -> Cell:
    """The cell of a plug-in that has been trained from a folder's config."""
    write(folder, "mine.py", source)
    with plugins_forgotten():
        [cell] = cells_of(folder, "mine", models=["Mine"])
        record = {"submitted_at": datetime.now(UTC).isoformat(), "config": "{}", "cells": []}
        store.write_job(folder.name, {"folder": str(folder), **record})
        store.commit([make_record(cell)])
    return cell


def test_of_two_peoples_plugins_of_one_name_each_cell_gets_its_own_again(
    store: Store, tmp_path: Path
) -> None:
    cells = [
        committed(store, tmp_path / person, a_model("Mine", f"x = {person!r}"))
        for person in ("ann", "bob", "cem")
    ]
    with plugins_forgotten():
        job = rerun_job(store, {})
    assert {cell.key for cell in job.cells} == {cell.key for cell in cells}
    write(tmp_path / "bob", "mine.py", a_model("Mine", "x = 'edited'"))
    with plugins_forgotten(), pytest.raises(UserError, match="mine: has changed since, and there"):
        rerun_job(store, {"key": cells[1].key})


def test_an_edited_plugin_gives_the_cell_of_its_present_version(
    store: Store, tmp_path: Path
) -> None:
    before = committed(store, tmp_path / "ann", a_model("Mine"))
    elsewhere = {"submitted_at": datetime.now(UTC).isoformat(), "config": "{}", "cells": []}
    (tmp_path / "other").mkdir()  # a config without plug-ins
    store.write_job("a", {"folder": str(tmp_path / "other"), **elsewhere})
    write(tmp_path / "ann", "mine.py", a_model("Mine", "x = 'edited'"))
    with plugins_forgotten():
        [cell] = rerun_job(store, {}).cells
    assert cell.key != before.key
    assert cell.label == before.label
