"""Other files of a store: jobs, checkpoints, logs, reports; and a folder that disappears."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path

import pandas as pd
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


HIDDEN = ("._{}", ".ipynb_checkpoints/{}", "_tmp/{}", ".hidden/deep/{}", ".{}")


@pytest.mark.parametrize("hidden", HIDDEN)
def test_hidden_files_are_passed_over_as_by_pandas(store: Store, hidden: str) -> None:
    assert store.local_path is not None
    record = make_record()
    store.commit([record])
    cells = [make_cell().model_dump(mode="json")]
    store.write_job("j", {"job_id": "j", "cells": cells})
    store.checkpoints.write("k", "one", "weights.pt", b"w")
    folders = {"cells": "a.parquet", "curves": "a.parquet", "predictions": "a.parquet"}
    folders |= {"test_sets": "a.parquet", "jobs": "a.json", "checkpoints/k": "Thumbs.db"}
    for folder, name in folders.items():
        path = store.local_path / folder / hidden.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"Mac OS X")
    (store.local_path / "checkpoints" / "k" / "Thumbs.db").touch()
    (store.local_path / "cells" / "Thumbs.db").touch()
    store.check()
    assert store.results()["attempt"].tolist() == [record.row["attempt"]]
    assert len(list(store.scan({}))) == 1
    assert len(store.jobs()) == len(store.submitted()) == 1
    assert store.checkpoints.of("k") == [("one", "weights.pt")]
    assert store.checkpoints.all() == [("k", "one", "weights.pt")]
    (store.local_path / "cells" / "Thumbs.db").unlink()
    assert len(pd.read_parquet(store.local_path / "cells")) == 1


@pytest.mark.parametrize("name", ["a b", "é ü", "a#b?c%41", "line\nbreak", "a=b", "[x]", "~", "%"])
def test_a_store_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "store"
    Store.open(path, create=True).commit([make_record()])
    assert path.is_dir()
    opened = Store.open(f"{path}/")
    opened.check()
    assert len(opened.results()) == 1
    (tmp_path / "link").symlink_to(path)
    assert len(Store.open(tmp_path / "link").results()) == 1


@pytest.mark.parametrize("uri", ["s3:bucket/store", "s3:/bucket/store", "file:/x", "gs:x"])
def test_half_a_uri_is_no_folder(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=rf"^{uri}: a URI begins with {uri.split(':')[0]}://"):
        Store.open(uri, create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="must be UTF-8"):
        Store.open(f"{tmp_path}/\udcff")


def test_the_check_of_a_place_leaves_nothing_there(tmp_path: Path) -> None:
    assert not Store.is_at(tmp_path / "a" / "store")
    Store.check_place(tmp_path / "a" / "store")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match=r"is a file|cannot be"):
            Store.is_at(place) or Store.check_place(place)


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
        partial(store.logs.append, "k", "one", "text"),
        partial(store.checkpoints.write, "k", "one", "weights.pt", b"w"),
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
    assert store.logs.read("k", "one") == "text"


def test_tmp_is_empty_after_each_write_and_leftovers_in_it_are_never_read(store: Store) -> None:
    assert store.local_path is not None
    store.commit([make_record()])
    store.checkpoints.write("k", "one", "state.pt", b"1")
    assert list((store.local_path / "tmp").iterdir()) == []
    (store.local_path / "tmp" / "left-over.parquet").write_bytes(b"PAR1 and then the power went")
    reopened = Store.open(store.uri, create=True)
    reopened.check()
    assert len(reopened.results()) == 1
