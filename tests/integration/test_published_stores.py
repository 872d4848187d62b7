"""Stores with a manifest: whoever reads them may, and nobody trains into them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import numbers, predictions, stn_cluster
from support.records import make_record
from support.refusals import Command, assert_refused, everything

from stn_cluster import StoreError, UserError, run_grid
from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import load_config
from stn_cluster.registry import resolve
from stn_cluster.store import Store

pytestmark = pytest.mark.usefixtures("elsewhere")

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.yaml"
MORE = ("--set", "seeds=[0, 1]")  # than the store has


def manifest(store: Path) -> subprocess.CompletedProcess[str]:
    """Publishes a store with what it has of the smoke config."""
    command = [sys.executable, str(ROOT / "jobs" / "manifest.py"), str(SMOKE)]
    return subprocess.run([*command, "--store", str(store)], capture_output=True, text=True)


def traces(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    """Contents of a folder, with times of change: a folder changes with files that come and
    goes."""
    return {
        name: (content, (folder / name).stat().st_mtime_ns)
        for name, content in everything(folder).items()
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A published store with all cells of the smoke config."""
    path = tmp_path / "store"
    Store.open(path, create=True).commit(
        [make_record(cell) for cell in resolve(load_config(SMOKE))]
    )
    assert manifest(path).returncode == 0
    (path / "lock").unlink()  # no part of what is published
    (path / "tmp").rmdir()
    return path


def test_run_shows_what_a_published_store_holds_and_changes_nothing(
    command: Command, store: Path
) -> None:
    before = traces(store)
    told = command("run", SMOKE, "--store", store)
    assert told.code == 0
    assert "32 cells, 32 of them in the store" in told.err
    assert len([line for line in told.out.splitlines() if line.startswith("ST-CNN")]) == 3
    assert told.out == command("table", "--store", store).out
    assert len(run_grid(SMOKE, store)) == 32
    assert traces(store) == before


def test_it_needs_no_data_to_show_what_it_holds(
    command: Command, tmp_path: Path, store: Path
) -> None:
    told = command("run", SMOKE, "--store", store, "--data-root", tmp_path / "nowhere")
    assert told.code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("run", SMOKE, *MORE), ["lacks 32 of these 64 cells", "name another with --store"]),
        (("run", SMOKE, "--force"), ["published store", "name another with --store"]),
        (("run", SMOKE, *MORE, "--force"), ["published store", "name another with --store"]),
        (("rerun",), ["published store", "--into"]),
        (("rerun", "--model", "FCN"), ["published store", "--into"]),
        (("serve", "--state", "../state"), ["published store"]),
    ],
)
def test_nothing_trains_into_it(
    arguments: tuple[str, ...], parts: list[str], command: Command, store: Path, tmp_path: Path
) -> None:
    before = traces(store)
    assert_refused(command(*arguments, "--store", store), str(store), *parts)
    assert traces(store) == before
    assert not (tmp_path / "state").exists()


def test_nothing_is_rerun_into_it_either(command: Command, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Store.open(other, create=True)
    before = traces(store)
    for source in (store, other):
        told = command("rerun", "--store", source, "--into", store)
        assert_refused(told, str(store), "published store")
    assert traces(store) == before


@pytest.mark.parametrize(
    "arguments",
    [("run_grid.py", str(SMOKE)), ("rerun_cells.py",), ("rerun_cells.py", "--model", "FCN")],
)
def test_the_jobs_scripts_refuse_it_too(arguments: tuple[str, ...], store: Path) -> None:
    before = traces(store)
    script, *rest = arguments
    command = [sys.executable, str(ROOT / "jobs" / script), *rest, "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{store}: is a published store" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert traces(store) == before


def test_a_coordinator_does_not_open_it(store: Path, tmp_path: Path) -> None:
    before = traces(store)
    for state in (tmp_path / "state", store / "queue"):
        coordinator = Coordinator.__new__(Coordinator)  # without Ray
        coordinator.settings = Settings(store=str(store), state=str(state))
        with pytest.raises(StoreError, match="is a published store"):
            coordinator._open_files()
        assert not state.exists()
    assert traces(store) == before


def test_python_is_refused_as_the_command_is(store: Path) -> None:
    with pytest.raises(UserError, match="lacks 32 of these 32 cells"):
        run_grid({"recipe": "smoke", "seeds": [7]}, store, workers=1)


def test_its_report_and_manifest_can_be_written_anew(store: Path) -> None:
    cells = everything(store / "cells")
    script = [sys.executable, str(ROOT / "jobs" / "build_table.py"), "--store", str(store)]
    assert subprocess.run(script, capture_output=True).returncode == 0
    assert (store / "report" / "table.md").read_text().count("| ST-CNN |") == 3
    before = (store / "manifest.json").read_text()
    assert manifest(store).returncode == 0
    assert (store / "manifest.json").read_text() == before
    assert everything(store / "cells") == cells
    assert not (store / "lock").exists()


def test_a_store_that_a_service_holds_is_not_published(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    with store.lock():
        done = manifest(tmp_path / "store")
    assert done.returncode != 0
    assert "another service holds this store" in done.stderr
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_into_is_refused_where_a_service_trains(command: Command) -> None:
    told = command("rerun", "--server", "http://127.0.0.1:1", "--into", "../other")
    assert_refused(told, "--into", "--store")


def test_its_cells_are_trained_elsewhere_by_the_command_of_its_manifest(tmp_path: Path) -> None:
    """Really trained, published and trained again, to the same numbers."""
    store, other = tmp_path / "store", tmp_path / "other"
    chosen = ["--set", "models=[FCN]", "--set", "distortions=[R, RTS]"]
    done = stn_cluster("run", SMOKE, "--store", store, *chosen)
    assert done.returncode == 0, done.stderr
    assert manifest(store).returncode == 0
    before = traces(store)
    commands = json.loads((store / "manifest.json").read_text())["commands"]["rerun"]
    assert set(commands) == {"FCN/none/R/seed0", "FCN/none/RTS/seed0"}
    again = commands["FCN/none/RTS/seed0"].replace("DIR", str(other))
    program, *arguments = again.replace("ROOT", str(tmp_path)).split()
    assert program == "stn-cluster"
    done = stn_cluster(*arguments)
    assert done.returncode == 0, done.stderr
    assert "RTS" in done.stdout
    assert traces(store) == before
    [key] = numbers(other)["key"]
    assert numbers(store).set_index("key").loc[key].equals(numbers(other).set_index("key").loc[key])
    assert predictions(other)[key] == predictions(store)[key]
    assert len(Store.open(other).results(latest=False)) == 1
    assert (other / "queue").is_dir()
    assert (other / "report" / "table.md").is_file()
