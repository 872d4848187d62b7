"""`report`: three files, in the store or elsewhere, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.graded_stores import commit, drawn
from support.refusals import Command, assert_refused, make_command

from stn_cluster.store import Store

ERRORS = {("CNN", "none"): 0.10, ("ST-CNN", "affine"): 0.05}
ENDINGS = (".html", ".md", ".tex")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def filled(store: Store) -> Path:
    commit(store, drawn(ERRORS, images=200))
    assert store.local_path is not None
    return store.local_path


@pytest.mark.parametrize("published", [False, True])
def test_a_store_gets_its_report_even_a_published_one(
    published: bool, filled: Path, command: Command
) -> None:
    if published:
        (filled / "manifest.json").write_text("{}")
    told = command("report", "--store", filled)
    files = [filled / "report" / f"report{ending}" for ending in ENDINGS]
    assert (told.code, told.out) == (0, "".join(f"{file}\n" for file in files))
    assert all("4 of 4 cells succeeded" in file.read_text() for file in files)
    assert "left out: Evaluations: " in told.err


def test_a_report_of_some_cells_is_written_elsewhere(
    filled: Path, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "new" / "mine.html"
    told = command("report", "--store", filled, "--output", output, "--model", "CNN")
    assert told.code == 0
    assert {file.name for file in output.parent.iterdir()} == {"mine.html", "mine.md", "mine.tex"}
    assert "2 of 2 cells succeeded" in output.read_text()
    assert not list((filled / "report").glob("*.html"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--output", "a.pdf"], ["--output", ".html", "'a.pdf'"]),
        (["--model", "FCN"], ["no cell matches model=FCN"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str],
    parts: list[str],
    store: Store,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    commit(store, drawn(ERRORS, images=20, dataset="mnist"), version=1)
    assert_refused(command("report", *arguments, "--store", store.local_path), *parts)


def test_a_file_that_cannot_be_written_is_named(
    filled: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "one.html"
    told = command("report", "--store", filled, "--output", output)
    assert_refused(told, f"--output {output}: cannot be written: ")
