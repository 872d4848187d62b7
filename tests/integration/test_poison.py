"""Cells that take their workers with them: given up after three tries, and nobody else's loss."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import stn_cluster
from support.failures import counts, exit_reason
from support.services import PLUGINS

from stn_cluster import load_results
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.database import connect_reader
from stn_cluster.queue.queries import attempts
from stn_cluster.store import Store, stored_logs

DEADLY = ("Dies", "Hoards")
CONFIG = """
plugins: [breaking_plugin]
models: [Dies, Linear, Hoards, Prints, CNN, FCN, ST-FCN]
transforms: [none, affine, tps]
distortions: [E]
recipe: smoke
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a run in which one cell ends its process, and one its process's memory."""
    folder = tmp_path_factory.mktemp("poison")
    shutil.copy(PLUGINS / "breaking_plugin.py", folder)
    (folder / "grid.yaml").write_text(CONFIG)
    # Cells enough for a pack of two: the first one dies beside another.
    done = stn_cluster("run", "grid.yaml", "--store", "store", "--workers", "2", folder=folder)
    assert done.returncode == 1, done.stderr
    for model in DEADLY:
        assert f"{model}/none/E/seed0: failed: " in done.stderr
    assert "raylet" not in done.stdout + done.stderr  # Ray has its own words for it
    return folder


@pytest.fixture(scope="module")
def history(folder: Path) -> dict[str, list[Attempt]]:
    """The attempts at one cell of each model."""
    found = load_results(folder / "store")
    with closing(connect_reader(folder / "store" / "queue")) as queue:
        return {row.model: attempts(queue, row.key) for row in found.itertuples()}


def test_a_deadly_cell_is_failed_after_three_charged_attempts_with_every_reason_kept(
    folder: Path, history: dict[str, list[Attempt]]
) -> None:
    results = load_results(folder / "store").set_index("model")
    for model in DEADLY:
        charged = [attempt for attempt in history[model] if counts(attempt)]
        assert [attempt.pack_size for attempt in charged] == [1, 1, 1]
        assert {exit_reason(attempt) for attempt in history[model][:-1]} == {"died"}
        assert len({attempt.worker.process for attempt in charged}) == 3
        error = results.at[model, "error"]
        assert results.at[model, "status"] == "failed"
        assert error.startswith("given up after these ends:\n1. died: ")
        assert [line[:2] for line in error.splitlines()[1:]] == ["1.", "2.", "3."]
        assert all(str(attempt.end.message) in error for attempt in charged)
    assert "worker process has died" in results.at["Dies", "error"]
    assert "can't allocate memory" in results.at["Hoards", "error"]


def test_what_a_deadly_cell_printed_last_is_in_its_logs_and_in_nobody_elses(folder: Path) -> None:
    store = Store.open(folder / "store")
    deadly = stored_logs(store, "Dies/none/E/seed0")
    assert len(deadly) >= 3
    for log in deadly:
        assert "Z farewell\n" in log.text
        assert "died: " in log.text.partition("farewell")[2]
    for model in ("Linear", "Prints"):
        assert all(
            "farewell" not in log.text for log in stored_logs(store, f"{model}/none/E/seed0")
        )


def test_all_others_finish_and_none_is_charged_with_the_death_of_a_pack_mate(
    folder: Path, history: dict[str, list[Attempt]]
) -> None:
    results = load_results(folder / "store")
    assert len(results) == 8
    assert set(results.query("status == 'failed'")["model"]) == set(DEADLY)
    others = [a for model, attempts in history.items() if model not in DEADLY for a in attempts]
    assert not any(counts(attempt) for attempt in others)
    in_company = [a for attempts in history.values() for a in attempts if a.pack_size > 1]
    assert "died" in {exit_reason(attempt) for attempt in in_company}  # or it has shown nothing
