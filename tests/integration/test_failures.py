"""Cells that fail, each in its own way, and all others that do not notice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.commands import stn_cluster
from support.services import PLUGINS

from stn_cluster import load_results

CONFIG = """
plugins: [breaking_plugin]
models: [FCN, CNN, Raises, Diverges]
distortions: [E]
recipe: smoke
"""


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """The folder, exit code, output and errors of a run in which two cells of four fail."""
    folder = tmp_path_factory.mktemp("failures")
    shutil.copy(PLUGINS / "breaking_plugin.py", folder)
    (folder / "grid.yaml").write_text(CONFIG)
    # One worker, and so packs of several cells.
    done = stn_cluster("run", "grid.yaml", "--store", "store", "--workers", "1", folder=folder)
    return folder, done.returncode, done.stdout, done.stderr


def test_failed_cells_are_told_and_the_exit_code_is_1(
    after: tuple[Path, int, str, str],
) -> None:
    folder, code, table, errors = after
    assert code == 1
    results = load_results(folder / "store").set_index("model")
    assert results["status"].to_dict() == {
        "FCN": "succeeded",
        "CNN": "succeeded",
        "Raises": "failed",
        "Diverges": "failed",
    }
    assert "broken on purpose" in results.at["Raises", "error"]
    assert "Traceback" in results.at["Raises", "error"]
    assert "the loss is not finite" in results.at["Diverges", "error"]
    for model in ("Raises", "Diverges"):
        assert f"{model}/none/E/seed0: failed: " in errors
        row = next(line for line in table.splitlines() if line.startswith(model))
        assert "failed" in row
        assert pd.isna(results.at[model, "test_error"])
    assert results["pack_size"].max() > 1  # or it would show nothing of pack mates


def test_the_command_that_is_named_shows_the_traceback_without_a_server(
    after: tuple[Path, int, str, str],
) -> None:
    folder, _, _, errors = after
    [line] = [line for line in errors.splitlines() if "logs Raises/" in line]
    command = line.partition("(stn-cluster ")[2].removesuffix(")")
    assert command == "logs Raises/none/E/seed0 --store store"
    done = stn_cluster(*command.split(), folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("--- attempt ")
    assert "Traceback (most recent call last)" in done.stdout
    assert "RuntimeError: broken on purpose\n" in done.stdout
    done = stn_cluster("results", "--store", "store", folder=folder)
    [row] = [line for line in done.stdout.splitlines() if "Raises/" in line]
    assert row.endswith("RuntimeError: broken on purpose")


def test_the_others_have_the_numbers_they_would_have_had_alone(
    after: tuple[Path, int, str, str],
) -> None:
    folder, *_ = after
    done = stn_cluster(
        "run",
        "grid.yaml",
        "--store",
        "alone",
        *("--set", "models=[FCN, CNN]", "--set", "plugins=[]"),
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    columns = ["key", "test_error", "train_loss", "n_wrong"]
    alone = load_results(folder / "alone")[columns]
    together = load_results(folder / "store", status="succeeded")[columns]
    pd.testing.assert_frame_equal(alone, together)


def test_the_same_command_tries_the_failed_cells_again_and_only_these(
    after: tuple[Path, int, str, str],
) -> None:
    folder, *_ = after
    store = folder / "store"
    before = pd.read_parquet(store / "cells")["key"].value_counts()
    plugin = folder / "breaking_plugin.py"
    original = plugin.read_text()
    done = stn_cluster(
        "run", "grid.yaml", "--store", store, "--set", "models=[FCN, Raises]", folder=folder
    )
    assert done.returncode == 1
    after_it = pd.read_parquet(store / "cells")["key"].value_counts()
    assert (after_it - before).sum() == 1
    # Mended, it is another key: the old failure stays in the history, the new cell succeeds.
    plugin.write_text(original.replace('raise RuntimeError("broken on purpose")', "pass"))
    mended = stn_cluster(
        "run", "grid.yaml", "--store", store, "--set", "models=[FCN, Raises]", folder=folder
    )
    assert mended.returncode == 0, mended.stderr
    rows = load_results(store, model="Raises")
    assert sorted(rows["status"]) == ["failed", "succeeded"]
    assert rows["key"].nunique() == 2
    assert load_results(store, model="FCN")["key"].nunique() == 1
