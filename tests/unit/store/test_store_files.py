"""Other files of a store: jobs, checkpoints, logs, reports; and a folder that disappears."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path

import pytest
from support.records import make_cell, make_record

from stn_cluster.errors import StoreError
from stn_cluster.store import Store


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}', '{"cells": [{"model": "CNN"}]}'])
def test_a_malformed_job_is_named(store: Store, text: str) -> None:
    assert store.local_path is not None
    (store.local_path / "jobs" / "odd.json").write_text(text)
    with pytest.raises(StoreError, match=r"jobs/odd\.json"):
        store.submitted()


def test_a_jobs_record_is_one_line(store: Store) -> None:
    assert store.local_path is not None
    cells = [make_cell(seed=seed).model_dump(mode="json") for seed in range(100)]
    store.write_job("j", {"job_id": "j", "config": {"note": "two\nlines"}, "cells": cells})
    text = (store.local_path / "jobs" / "j.json").read_text()
    assert len(text.splitlines()) == 1
    assert json.loads(text)["cells"] == cells


def test_half_written_files_are_swept_once_nobody_can_be_writing_them(store: Store) -> None:
    assert store.local_path is not None
    store.commit([make_record()])
    tmp = store.local_path / "tmp"
    for name, age in (("old", 3700), ("young", 60)):
        (tmp / name).write_bytes(b"half")
        written = time.time() - age
        os.utime(tmp / name, (written, written))
    store.sweep()
    store.sweep()
    assert [path.name for path in tmp.iterdir()] == ["young"]
    store.check()
    assert len(store.results()) == 1


def test_a_store_whose_folder_has_gone_is_not_made_anew_and_goes_on_when_it_is_back(
    store: Store, tmp_path: Path
) -> None:
    assert store.local_path is not None
    record = make_record()
    away = store.local_path.rename(tmp_path / "away")
    writes = (
        partial(store.commit, [record]),
        partial(store.append_log, "k", "one", "text"),
        partial(store.write_checkpoint, "k", "one", "weights.pt", b"w"),
        partial(store.write_job, "j", {"cells": []}),
        partial(store.write_report, "table.md", "| a |"),
    )
    for write in writes:
        with pytest.raises(StoreError, match="folder is not there") as caught:
            write()
        assert str(store.local_path) in str(caught.value)
    assert not store.local_path.exists()
    away.rename(store.local_path)
    for write in writes:
        write()
    assert store.results()["attempt"].tolist() == [record.row["attempt"]]
    assert store.read_log("k", "one") == "text"


def test_tmp_is_empty_after_each_write_and_leftovers_in_it_are_never_read(store: Store) -> None:
    assert store.local_path is not None
    store.commit([make_record()])
    store.write_checkpoint("k", "one", "state.pt", b"1")
    assert list((store.local_path / "tmp").iterdir()) == []
    (store.local_path / "tmp" / "left-over.parquet").write_bytes(b"PAR1 and then the power went")
    reopened = Store.open(store.uri, create=True)
    reopened.check()
    assert len(reopened.results()) == 1
