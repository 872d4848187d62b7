"""`stn-cluster prune`: what it says, what it refuses, and what other commands say after it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.grown_stores import GrownStore
from support.queues import cells
from support.refusals import Command, assert_refused, everything
from support.stored import train_into

from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.queue import database
from stn_cluster.store import Store

CONFIG = {"recipe": "smoke", "models": ["FCN"], "distortions": ["R"], "dataset": "digits"}


@pytest.fixture
def grown(tmp_path: Path) -> GrownStore:
    found = GrownStore(tmp_path / "store")
    found.train("first", cells(2))
    found.train("again", cells(1), force=True)
    return found


def test_a_dry_run_says_what_the_real_one_does(grown: GrownStore, command: Command) -> None:
    for choice in (["--job", "again"], ["--older-than", "0s"], ["--superseded"]):
        before = everything(grown.folder)
        would = command("prune", grown.folder, *choice, "--dry-run")
        assert everything(grown.folder) == before
        real = command("prune", grown.folder, *choice)
        assert (would.code, real.code, real.err) == (0, 0, "")
        assert would.out.startswith("would free ")
        assert real.out == would.out.replace("would free", "freed", 1)
    assert "  cells       1 rows" in real.out
    told = command("prune", grown.folder, "--superseded")
    assert (told.code, told.out) == (0, "nothing to free\n")


def test_each_kind_is_told(grown: GrownStore, command: Command) -> None:
    lines = command("prune", grown.folder, "--job", "first", "--job", "again").out.splitlines()
    assert lines[0].startswith("freed 11 files, ")
    assert [line.split()[0] for line in lines[1:]] == ["logs", "checkpoints", "records", "queue"]
    assert lines[1].startswith("  logs        3 files, ")
    assert lines[-1].startswith("  queue       2 jobs, 2 cells and evaluations, 3 attempts, ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "choose what goes: --older-than AGE, --job ID, --superseded"),
        (["--dry-run"], "choose what goes"),
        (["--keep-weights"], "choose what goes"),
        (["--older-than", "soon"], "--older-than: a whole number with s, m, h, d or w, as in 30d"),
        (["--job", "frist"], "unknown job 'frist': did you mean 'first'"),
        (["--superseded", "--state", "/no/such"], "/no/such: there is no queue here"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_goes(
    grown: GrownStore, command: Command, options: list[str], said: str
) -> None:
    before = everything(grown.folder)
    assert_refused(command("prune", grown.folder, *options), said)
    assert {name for name in everything(grown.folder) if name not in before} <= {
        "lock",
        "queue/lock",
    }


def test_a_store_in_use_a_published_one_and_none_are_refused(
    grown: GrownStore, command: Command, tmp_path: Path
) -> None:
    with grown.store.lock():
        told = command("prune", grown.folder, "--superseded")
        assert_refused(told, f"another service holds this store: {grown.folder}", "end that first")
    (grown.folder / "manifest.json").write_text("{}")
    assert_refused(command("prune", grown.folder, "--superseded"), "is a published store")
    assert_refused(command("prune", tmp_path / "none", "--superseded"), "no result store here")


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_queue_that_is_damaged_is_named_itself_and_nothing_goes(
    grown: GrownStore, command: Command, dry_run: bool
) -> None:
    file = grown.state / "queue.sqlite"
    file.write_bytes(b"not a database" * 1000)
    before = grown.logs()
    told = command("prune", grown.folder, "--superseded", *["--dry-run"][: int(dry_run)])
    assert_refused(told, f"{file}: damaged")
    assert grown.logs() == before


def test_a_queue_that_somebody_else_has_locked_is_told_before_anything_goes(
    grown: GrownStore, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    other = sqlite3.connect(grown.state / "queue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = grown.logs()
    told = command("prune", grown.folder, "--superseded")
    assert_refused(told, f"{grown.state / 'queue.sqlite'}: cannot be written: database is locked")
    assert grown.logs() == before
    other.close()


def test_what_was_pruned_is_still_a_result_and_its_lost_weights_are_said(
    tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "trained"
    store = Store.open(folder, create=True)
    [cell] = grid_job(CONFIG).cells
    train_into(store, [cell])
    record = {"job_id": "j", "submitted_at": "2026-01-31T12:00:00+00:00", "config": {}}
    store.write_job("j", {**record, "cells": [cell.model_dump(mode="json")]})
    config = tmp_path / "config.yaml"
    config.write_text("{recipe: smoke, models: [FCN], distortions: [R], dataset: digits}\n")
    table = command("table", "--store", folder).out
    kept = command("prune", folder, "--job", "j", "--keep-weights")
    assert (kept.code, kept.out.splitlines()[0].split(",")[0]) == (0, "freed 1 file")
    store.write_job("j", {**record, "cells": [cell.model_dump(mode="json")]})
    assert command("prune", folder, "--older-than", "0s").out.startswith("freed 2 files")
    assert command("table", "--store", folder).out == table
    assert command("run", config, "--store", folder).code == 0  # stored: no Ray is started
    told = command("evaluate", "--store", folder, "--on", "E")
    assert_refused(told, f"the weights of {cell.label} are not here", "rerun --store")
