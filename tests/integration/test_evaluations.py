"""Evaluations by the real command: killed half-way, resumed, asked for again, published."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pandas as pd
import pytest
from support.commands import interrupted, stn_cluster
from support.packs import make_cells
from support.stored import train_into

import stn_cluster as package
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import Store

ASKED = ("--on", "clean,R,RTS,E", "--severity", "1,2", "--worst-of", "3", "--workers", "1")
PER_CELL = 1 + 3 * 2 * 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with four trained cells."""
    folder = tmp_path_factory.mktemp("trained") / "store"
    store = Store.open(folder, create=True)
    cells = make_cells(models=["FCN", "ST-FCN"], transforms=["none", "affine"], distortions=["R"])
    train_into(store, [*cells, *make_cells(models=["CNN", "FCN"], distortions=["RTS"])])
    return folder


def rows(store: Path) -> pd.DataFrame:
    return pd.read_parquet(store / "evaluations")


def test_killed_half_way_and_resumed_every_evaluation_is_there_once(trained: Path) -> None:
    command = ("evaluate", "--store", trained, *ASKED)
    code, _ = interrupted(signal.SIGKILL, lambda: len(rows(trained)) > 5, *command)
    assert code == -signal.SIGKILL
    before = rows(trained)
    assert len(before) < 4 * PER_CELL
    done = stn_cluster(*command)
    assert done.returncode == 0, done.stderr
    after = rows(trained)
    assert len(after) == 4 * PER_CELL
    assert not after.duplicated(["evaluation", "attempt"]).any()
    assert set(after["status"]) == {"succeeded"}
    kept = after.merge(before[["evaluation", "accepted_at"]], on=["evaluation", "accepted_at"])
    assert len(kept) == len(before)  # what was there is not computed again

    # Asked again, in other words, nothing is computed: Ray does not even start.
    again = stn_cluster("evaluate", "--store", trained, *ASKED, RAY_TMPDIR="/nowhere")
    assert again.returncode == 0, again.stderr
    assert len(rows(trained)) == 4 * PER_CELL
    assert "trained on  clean" in again.stdout

    table = stn_cluster("transfer", "--store", trained, "--model", "FCN").stdout
    assert [line.split()[:3] for line in table.splitlines() if line.startswith("FCN")] == [
        ["FCN", "none", "R"],
        ["FCN", "none", "RTS"],
    ]
    curves = stn_cluster("robustness", "--store", trained, "--format", "csv").stdout
    assert len(curves.splitlines()) == 1 + 4 * PER_CELL

    frame = package.load_evaluations(trained, model="ST-FCN", on="RTS")
    plain = frame[frame["worst_of"] == 1]["n_wrong"].to_numpy()
    worst = frame[frame["worst_of"] == 3]["n_wrong"].to_numpy()
    assert (worst >= plain).all()
    assert frame["pose_degrees"].notna().all()


def test_a_function_evaluates_a_published_store_and_leaves_its_cells_alone(
    trained: Path, tmp_path: Path
) -> None:
    cells = sorted(path.name for path in (trained / "cells").iterdir())
    (trained / "manifest.json").write_text(json.dumps({}))
    try:
        found = package.evaluate(trained, on="P", model="CNN", workers=1, state=tmp_path / "state")
        assert found["label"].tolist() == ["CNN/none/RTS/seed0"]
        assert found["on"].tolist() == ["P"]
        refused = stn_cluster("run", "configs/smoke.yaml", "--store", trained)
        assert refused.returncode == 2
    finally:
        (trained / "manifest.json").unlink()
    assert sorted(path.name for path in (trained / "cells").iterdir()) == cells


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--on", "RST"), "unknown distortion 'RST': did you mean 'RTS'"),
        (("--severity", "much"), "--severity much: numbers from 0 to 3"),
        (("--severity", "4"), "evaluate.severity.0: Input should be less than or equal to 3"),
        (("--worst-of", "0"), "evaluate.worst_of: Input should be greater than or equal to 1"),
        (("--model", "CNM"), "no cell matches model=CNM"),
        (("--dataset", "mnits"), "unknown dataset 'mnits'"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    trained: Path, arguments: tuple[str, ...], line: str
) -> None:
    done = stn_cluster("evaluate", "--store", trained, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_weights_that_are_not_here_are_a_line_before_ray_starts(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    [cell] = cells = make_cells(models=["FCN"], distortions=["R"], recipe={"iterations": 1})
    train_into(store, cells)
    store.checkpoints.drop(cell.key, "a0", WEIGHTS)
    done = stn_cluster("evaluate", "--store", tmp_path / "store", RAY_TMPDIR="/nowhere")
    assert done.returncode == 2
    assert f"this trains it: stn-cluster rerun --store {store.name} --key {cell.key}" in done.stderr
