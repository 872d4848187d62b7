"""Jobs of cells to train anew."""

from __future__ import annotations

from datetime import UTC, datetime

from support.records import make_record

from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.config_file import parse_config
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
