"""`run` and `rerun` as a user calls them: real Ray, real processes, real signals."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import interrupted, numbers, predictions, stn_cluster
from support.refusals import Command, assert_refused

from stn_cluster import load_predictions, load_results, load_verifications
from stn_cluster.cluster import run_local
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.config_file import parse_config
from stn_cluster.registry import resolve
from stn_cluster.store import Store

CONFIG = Path(__file__).parents[2] / "configs" / "smoke.yaml"
LONGER = ["--set", "recipe.iterations=60"]  # long enough to be interrupted


def run(store: Path, *more: str) -> tuple[str | Path, ...]:
    return ("run", CONFIG, "--store", store, *LONGER, *more)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store after one whole run of the grid on two workers, and the table it printed.

    The shell binds threads to cores, which workers take no notice of.
    """
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    done = stn_cluster(*run(store, "--workers", "2"), OMP_PROC_BIND="true")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("OMP_PROC_BIND=true: not used for workers") == 1
    return store, done.stdout


def rows(store: Path) -> int:
    if not list(store.glob("cells/*.parquet")):  # it is not made yet
        return 0
    return len(pd.read_parquet(store / "cells", columns=["key"]))


def test_a_run_trains_all_32_cells_and_prints_their_table(undisturbed: tuple[Path, str]) -> None:
    store, table = undisturbed
    results = load_results(store)
    assert len(results) == 32
    assert set(results["status"]) == {"succeeded"}
    assert len(results["label"].unique()) == 32
    assert table.count("(2.1, ") == 1  # the paper's FCN on R, with the difference
    assert len([line for line in table.splitlines() if line.startswith(("FCN", "CNN", "ST-"))]) == 8
    assert "missing" not in table
    assert (results["started_at"] < results["finished_at"]).all()
    assert (results["finished_at"] < results["accepted_at"]).all()
    assert results["n_test"].eq(3600).all()
    assert results["device"].str.endswith(", 1 thread").all()
    assert results["parameters"].gt(1000).all()
    assert results["images_per_second"].gt(0).all()
    curves = pd.read_parquet(store / "curves")
    assert set(curves["attempt"]) == set(results["attempt"])
    assert curves.groupby("key")["step"].max().eq(60).all()
    test_sets = pd.read_parquet(store / "test_sets")
    assert test_sets["test_set"].is_unique
    assert len(test_sets) == 4  # one a distortion, whichever worker told of it first
    images = load_predictions(store)
    wrong = (images["true_class"] != images["predicted_class"]).groupby(images["key"]).sum()
    assert wrong.to_dict() == results.set_index("key")["n_wrong"].to_dict()
    [record] = [json.loads(path.read_text()) for path in (store / "jobs").iterdir()]
    assert len(record["cells"]) == 32
    assert record["config"]["recipe"]["overrides"] == {"iterations": 60}
    weights = {path.parent.name for path in (store / "checkpoints").rglob("weights.pt")}
    assert weights == set(results["attempt"])
    assert not list((store / "checkpoints").rglob("state-*.pt"))
    assert (store / "report" / "table.md").read_text().count("| ST-CNN |") == 3
    assert len(pd.read_csv(store / "report" / "table.csv")) == 32


def test_the_same_command_again_trains_nothing_and_prints_the_same_table(
    undisturbed: tuple[Path, str],
) -> None:
    store, table = undisturbed
    before = sorted(path.name for path in (store / "cells").iterdir())
    again = stn_cluster(*run(store))
    assert again.returncode == 0
    assert again.stdout == table
    assert sorted(path.name for path in (store / "cells").iterdir()) == before


def test_killed_half_way_and_run_again_it_ends_with_the_same_rows_and_numbers(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    code, _ = interrupted(signal.SIGKILL, lambda: rows(store) >= 12, *run(store))
    assert code == -signal.SIGKILL
    assert 0 < rows(store) < 32
    # One worker now, and so other packs: the numbers depend on neither.
    done = stn_cluster(*run(store, "--workers", "1"))
    assert done.returncode == 0, done.stderr
    assert rows(store) == 32
    pd.testing.assert_frame_equal(numbers(store), numbers(undisturbed[0]))
    assert predictions(store) == predictions(undisturbed[0])
    assert done.stdout == undisturbed[1]


@pytest.mark.parametrize(
    "sign", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.chaos)]
)
def test_interrupted_it_checkpoints_says_so_and_goes_on_from_there(
    undisturbed: tuple[Path, str], tmp_path: Path, sign: signal.Signals
) -> None:
    store = tmp_path / "store"
    options = ["--set", "distortions=[R, E]", "--checkpoint-seconds", "0.05"]
    code, errors = interrupted(
        sign, lambda: bool(list(store.glob("checkpoints/*/*/state-*.pt"))), *run(store, *options)
    )
    assert code == 130
    assert "interrupted" in errors
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert list(store.glob("checkpoints/*/*/state-*.pt"))
    done = stn_cluster(*run(store, *options))
    assert done.returncode == 0, done.stderr
    expected = numbers(undisturbed[0])
    expected = expected[expected["label"].str.contains("/[RE]/")].reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers(store), expected)
    assert not list(store.glob("checkpoints/*/*/state-*.pt"))


def test_rerun_trains_the_chosen_cells_anew_and_keeps_their_history(
    undisturbed: tuple[Path, str],
) -> None:
    store, _ = undisturbed
    before = numbers(store)
    chosen = ["--model", "ST-CNN", "--transform", "tps", "--distortion", "RTS", "--seed", "0"]
    done = stn_cluster("rerun", "--store", store, *chosen)
    assert done.returncode == 0, done.stderr
    history = pd.read_parquet(store / "cells")
    assert len(history) == 33
    twice = history[history["label"] == "ST-CNN/tps/RTS/seed0"]
    assert twice["attempt"].nunique() == 2
    assert twice["test_error"].nunique() == 1  # alone this time, and the same to the last bit
    pd.testing.assert_frame_equal(numbers(store), before)
    assert "ST-CNN" in done.stdout
    assert "FCN " not in done.stdout.replace("ST-FCN", "")


def test_neither_the_environments_cluster_nor_the_users_files_get_in_the_way(
    tmp_path: Path,
) -> None:
    (tmp_path / "one.yaml").write_text("cells: [{model: FCN, distortion: R}]\nrecipe: smoke\n")
    (tmp_path / "pandas.py").write_text("raise RuntimeError('not the library')")
    arguments = ["run", "one.yaml", "--store", "store"]
    done = stn_cluster(*arguments, folder=tmp_path, RAY_ADDRESS="ray://192.0.2.1:10001")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "store") == 1


def test_rerun_takes_a_cell_that_was_submitted_and_has_not_run(tmp_path: Path) -> None:
    config = parse_config({"models": ["FCN"], "distortions": ["R"], "recipe": "smoke"})
    cells = [cell.model_dump(mode="json") for cell in resolve(config)]
    store = Store.open(tmp_path / "store", create=True)
    store.write_job("lost", {"job_id": "lost", "config": {}, "cells": cells})
    done = stn_cluster("rerun", "--store", tmp_path / "store", "--model", "FCN")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "store") == 1


@pytest.mark.parametrize("what", ["store", "state"])
def test_a_second_service_is_refused_in_one_line_before_ray_starts(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(run_local, "TAKEOVER_SECONDS", 0.2)
    store = Store.open(tmp_path / "store", create=True)
    with store.lock() if what == "store" else lock_state_folder(tmp_path / "state"):
        told = command("run", CONFIG, "--store", tmp_path / "store", "--state", tmp_path / "state")
    assert_refused(told, f"another service holds this {what}", str(tmp_path / what))
    assert rows(tmp_path / "store") == 0


def test_verify_trains_cells_again_and_tells_what_differs(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    """One cell as it is, and two whose predictions were changed, one of them of another device."""
    store, work = tmp_path / "store", tmp_path / "work"
    shutil.copytree(undisturbed[0], store)
    same, changed, elsewhere = "FCN/none/R/seed0", "CNN/none/R/seed0", "CNN/none/E/seed0"
    rows = load_results(store).set_index("label")
    rewrite(store, "predictions", rows.loc[[changed, elsewhere], "attempt"], predictions=[1] * 3600)
    rewrite(store, "cells", rows.loc[[elsewhere], "attempt"], device="another")
    before = contents(store / "cells")
    keys = [text for label in (same, changed, elsewhere) for text in ("--key", rows["key"][label])]
    done = stn_cluster("verify", "--store", store, *keys, "--into", work, "--workers", "1")
    assert done.returncode == 3, done.stderr
    verdict = done.stdout.splitlines()[-1]
    assert verdict == f"Check failed (differs on the same kind of device): {changed}."
    found = load_verifications(store).set_index("label")
    assert found["n_test"].tolist() == [3600] * 3
    differs = found["n_differ"]
    assert differs[same] == 0
    assert min(differs[changed], differs[elsewhere]) > 0
    assert found["identical"].to_dict() == {same: True, changed: False, elsewhere: False}
    assert found["same_device"].to_dict() == {same: True, changed: True, elsewhere: False}
    assert found["attempt"].to_dict() == rows.loc[found.index, "attempt"].to_dict()
    assert contents(store / "cells") == before
    assert len(load_results(work)) == 3
    assert predictions(work)[rows["key"][same]] == predictions(undisturbed[0])[rows["key"][same]]


def rewrite(store: Path, kind: str, attempts: Iterable[str], **columns: Any) -> None:
    """Changes columns of some attempts' rows, as nobody should."""
    for path in (store / kind).glob("*.parquet"):
        table = pq.read_table(path)
        rows = table.to_pylist()
        rows = [row | (columns if row["attempt"] in set(attempts) else {}) for row in rows]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
