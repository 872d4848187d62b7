"""Stores that cannot be used: named in one clear line with exit code 2, and left as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import stn_cluster
from support.refusals import Command, Told, assert_refused, everything

from stn_cluster.config_file import load_config
from stn_cluster.registry import resolve
from stn_cluster.store import CELLS, SCHEMA_VERSION, Store

pytestmark = pytest.mark.usefixtures("elsewhere")

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.yaml"
LOOKING = ("results", "table")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the results of the smoke config's first two cells."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "unit")
    from support.records import make_record

    cells = resolve(load_config(SMOKE))
    path = tmp_path / "store"
    Store.open(path, create=True).commit([make_record(cell) for cell in cells[:2]])
    return path


def call(command: str, store: Path | str) -> tuple[str, ...]:
    config = [str(SMOKE)] if command == "run" else []
    return (command, *config, "--store", str(store))


# --- files in the store ---


def torn(good: bytes, path: Path) -> None:
    path.write_bytes(good[: len(good) // 2])


def empty(good: bytes, path: Path) -> None:
    path.touch()


def foreign(good: bytes, path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def newer(good: bytes, path: Path) -> None:
    path.write_bytes(good)
    table = pq.read_table(path, partitioning=None)
    version = pa.array([SCHEMA_VERSION + 1] * len(table), pa.int32())
    index = CELLS.get_field_index("schema_version")
    pq.write_table(table.set_column(index, "schema_version", version), path)


@pytest.mark.parametrize("name", ["results", "table", "run", "rerun"])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (torn, "torn"),
        (empty, "torn"),
        (foreign, "not a file of this store"),
        (newer, "newer than this stn-cluster's"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_still_there_afterwards(
    name: str, spoil: Callable[[bytes, Path], None], told: str, command: Command, store: Path
) -> None:
    good = max((store / "cells").glob("*.parquet"), key=lambda path: path.stat().st_size)
    bad = store / "cells" / "z.parquet"
    spoil(good.read_bytes(), bad)
    before = everything(store)
    assert_refused(command(*call(name, store)), str(bad), told)
    assert everything(store) == before


@pytest.mark.parametrize("kind", ["curves", "predictions"])
def test_run_names_a_bad_file_before_it_trains_for_hours(
    kind: str, command: Command, store: Path
) -> None:
    bad = store / kind / "z.parquet"
    bad.write_bytes(b"PAR1 and then the power went")
    before = everything(store)
    assert_refused(command(*call("run", store)), str(bad), "torn")
    assert everything(store) == before


def test_a_cell_that_this_version_cannot_read_is_named_by_rerun(
    command: Command, store: Path
) -> None:
    good = max((store / "cells").glob("*.parquet"), key=lambda path: path.stat().st_size)
    table = pq.read_table(good, partitioning=None)
    specs = pa.array(['{"model": "CNN", "colour": 3}'] * len(table))
    pq.write_table(table.set_column(CELLS.get_field_index("spec"), "spec", specs), good)
    before = everything(store)
    assert_refused(command(*call("rerun", store)), str(store), "FCN/none/R/seed0")
    assert everything(store) == before


# --- places that hold no store, and can hold none ---


@pytest.mark.parametrize("name", [*LOOKING, "rerun"])
def test_a_store_that_is_not_there_is_named_and_not_made(
    name: str, command: Command, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert_refused(command(*call(name, missing)), str(missing), "no result store here")
    assert not missing.exists()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep this")
    assert_refused(command(*call(name, folder)), str(folder), "no result store here")
    assert everything(folder) == {".": None, "mine.txt": b"keep this"}


@pytest.mark.parametrize("name", ["run", *LOOKING, "rerun"])
def test_a_store_that_is_a_file_is_named(name: str, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("keep this")
    assert_refused(command(*call(name, file)), str(file), "is a file")
    assert file.read_text() == "keep this"


@pytest.mark.parametrize("name", ["run", *LOOKING, "rerun"])
def test_a_store_below_a_file_is_named(name: str, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("keep this")
    assert_refused(command(*call(name, file / "store")), str(file / "store"))
    assert file.read_text() == "keep this"


def test_a_store_where_nothing_can_be_written_is_named(command: Command) -> None:
    assert_refused(command(*call("run", "/proc/nope")), "/proc/nope", "cannot be made")


@pytest.mark.parametrize("name", ["run", *LOOKING, "rerun"])
def test_a_store_of_an_unknown_kind_is_named(name: str, command: Command) -> None:
    assert_refused(command(*call(name, "nope://bucket/store")), "nope://bucket/store")


@pytest.mark.parametrize("name", [*LOOKING, "rerun"])
def test_a_store_has_to_be_named(name: str, command: Command) -> None:
    assert_refused(command(name), "--store")


# --- what is asked of a store ---


@pytest.mark.parametrize("name", [*LOOKING, "rerun"])
@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (["--model", "ST-CNN"], ["model=ST-CNN", "FCN"]),
        (["--seed", "7"], ["seed=7", "0"]),
        (["--key", "0123456789abcdef"], ["key=0123456789abcdef"]),
        (["--recipe", "fast"], ["recipe=fast", "smoke"]),
        (["--distortion", "E", "--dataset", "mnist"], ["distortion=E", "dataset=mnist", "digits"]),
    ],
)
def test_a_filter_that_matches_no_cell_is_named_with_what_there_is(
    name: str, filters: list[str], told: list[str], command: Command, store: Path
) -> None:
    before = everything(store)
    assert_refused(command(*call(name, store), *filters), "no cell matches", *told)
    assert everything(store) == before


def test_an_empty_store_has_nothing_to_rerun(command: Command, tmp_path: Path) -> None:
    store = tmp_path / "store"
    Store.open(store, create=True)
    before = everything(store)
    assert_refused(command(*call("rerun", store)), str(store), "no cell")
    assert everything(store) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["results", "--format", "cvs"], ["format", "'cvs'", "did you mean 'csv'?"]),
        (["table", "--format", "pdf"], ["format", "'pdf'", "csv, html, latex, md, text"]),
        (["table", "--reference", "papr"], ["reference", "'papr'", "did you mean 'paper'?"]),
        (["rerun", "--workers", "0"], ["workers", "at least 1"]),
        (["rerun", "--threads-per-worker", "0"], ["threads per worker", "at least 1"]),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], told: list[str], command: Command, store: Path
) -> None:
    before = everything(store)
    assert_refused(command(*arguments, "--store", store), *told)
    assert everything(store) == before


def test_looking_at_a_store_leaves_it_as_it_was(command: Command, store: Path) -> None:
    before = everything(store)
    for name in LOOKING:
        told = stn_cluster(*call(name, store))
        assert (told.returncode, told.stderr) == (0, "")
        assert "FCN" in told.stdout
    assert everything(store) == before


def test_the_real_command_names_a_bad_file_too(store: Path) -> None:
    bad = store / "cells" / "z.parquet"
    bad.write_bytes(b"torn")
    told = stn_cluster(*call("run", store))
    assert_refused(Told(told.returncode, told.stdout, told.stderr), str(bad), "torn")
    assert bad.read_bytes() == b"torn"
