"""Rows, logs, checkpoints and records are removed from a store of each kind; a dry run says so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
from support.records import TEST_SET, make_cell, make_record

from stn_cluster.errors import StoreError
from stn_cluster.store import Kind, Store
from stn_cluster.store.removal import Removed, Remover


def fill(store: Store) -> list[str]:
    """Two cells in one file, the first one again in another; returns the attempts."""
    records = [make_record(make_cell(seed=seed), attempt=f"a{seed}") for seed in (0, 1)]
    store.commit(records, [TEST_SET])
    store.commit([make_record(make_cell(), attempt="b")])
    for attempt in ("a0", "a1", "b"):
        store.logs.append("key", attempt, f"{attempt}\n")
        store.checkpoints.write("key", attempt, "weights.pt", b"w" * 100)
    store.write_job("j", {"cells": []})
    return ["a0", "a1", "b"]


def remove_rows(remover: Remover, gone: set[str]) -> dict[Kind, Removed]:
    """Removes the rows of attempts; returns what was removed of each kind."""
    found: dict[Kind, Removed] = {}
    for kind, removed in remover.remove_rows(remover.find_rows(gone), gone):
        found[kind] = found.get(kind, Removed()) + removed
    return found


def total(removed: Iterable[Removed]) -> Removed:
    return sum(removed, Removed())


def attempts(store: Store, kind: str = "cells") -> list[str]:
    found: list[str] = sorted(set(store.read(kind, ["attempt"])["attempt"].to_pylist()))  # type: ignore[arg-type]
    return found


def test_rows_of_an_attempt_go_and_the_others_stay(any_store: Store) -> None:
    fill(any_store)
    before = any_store.revision()
    said = remove_rows(Remover(any_store.uri, dry_run=True), {"a0"})
    assert any_store.revision() == before
    assert remove_rows(Remover(any_store.uri), {"a0"}) == said
    assert {kind: (r.files, r.rows) for kind, r in said.items()} == {
        "curves": (0, 2),
        "predictions": (0, 1),
        "cells": (0, 1),
    }
    for kind in ("cells", "curves", "predictions"):
        assert attempts(any_store, kind) == ["a1", "b"]
    assert remove_rows(Remover(any_store.uri), {"b"})["cells"].files == 1  # a file of its own
    assert attempts(any_store) == ["a1"]
    assert len(any_store.read("test_sets")) == 1
    assert any_store.revision() != before


def test_superseded_attempts_are_those_before_a_newer_success(any_store: Store) -> None:
    fill(any_store)
    any_store.commit([make_record(make_cell(seed=1), error=None, attempt="failed")])
    remover = Remover(any_store.uri, dry_run=True)
    assert remover.superseded((), None, without=()) == {"a0"}
    assert remover.superseded(("job-1",), None, without=()) == {"a0"}
    assert remover.superseded(("job-2",), None, without=()) == set()
    assert remover.superseded((), None, without={make_cell().key}) == set()


def test_nothing_is_removed_where_a_link_leads_to(tmp_path: Path) -> None:
    """Whoever may write into the store could have made the link."""
    store, other = Store.open(tmp_path / "store", create=True), tmp_path / "other"
    fill(store)
    for name in ("notes.txt", "a/notes.txt"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text("not of the store")
        os.utime(other / name, (0, 0))
    for link in ("logs/linked", "checkpoints/linked", "tmp/linked"):
        (tmp_path / "store" / link).symlink_to(other)
    remover = Remover(store.uri)
    assert total(remover.remove([*remover.logs(), *remover.checkpoints()])).files == 6
    assert store.checkpoints.all() == store.checkpoints.of("linked") == []
    store.sweep()
    assert (other / "notes.txt").exists()
    assert (other / "a" / "notes.txt").exists()


def test_a_folder_of_the_store_may_be_elsewhere(tmp_path: Path) -> None:
    store, disk = Store.open(tmp_path / "store", create=True), tmp_path / "large disk"
    fill(store)
    (tmp_path / "store" / "checkpoints").rename(disk)
    (tmp_path / "store" / "checkpoints").symlink_to(disk)
    assert len(store.checkpoints.all()) == len(store.checkpoints.of("key")) == 3
    remover = Remover(store.uri)
    assert total(remover.remove(remover.checkpoints())).files == 3
    assert list(disk.iterdir()) == []


def test_files_go_with_the_folders_that_they_leave_empty(any_store: Store) -> None:
    fill(any_store)
    remover = Remover(any_store.uri)
    chosen = [file for file in remover.checkpoints() if file.attempt != "b"]
    assert [(file.key, file.attempt, file.bytes) for file in chosen] == [
        ("key", "a0", 100),
        ("key", "a1", 100),
    ]
    removed = total(remover.remove(chosen))
    assert (removed.files, removed.bytes) == (2, 200)
    assert any_store.checkpoints.of("key") == [("b", "weights.pt")]
    assert total(remover.remove(remover.logs())).files == 3
    assert any_store.logs.attempts("key") == []
    if any_store.local_path:
        assert not (any_store.local_path / "logs" / "key").exists()
        assert not (any_store.local_path / "checkpoints" / "key" / "a0").exists()
        assert (any_store.local_path / "logs").exists()
    assert total(remover.remove_jobs(["j", "none"])).files == 1
    assert any_store.jobs() == []


def test_pandas_reads_what_stays(store: Store) -> None:
    fill(store)
    remove_rows(Remover(store.uri), {"a0"})
    assert store.local_path
    assert set(pd.read_parquet(store.local_path / "cells")["attempt"]) == {"a1", "b"}


def test_a_foreign_column_is_not_lost(store: Store) -> None:
    fill(store)
    assert store.local_path
    [path, _] = sorted((store.local_path / "cells").glob("2*.parquet"))
    pd.read_parquet(path).assign(of_a_newer_version=1).to_parquet(path)
    with pytest.raises(StoreError, match=r"of_a_newer_version|column"):
        remove_rows(Remover(store.uri), {"a0"})
    assert "of_a_newer_version" in pd.read_parquet(path)
