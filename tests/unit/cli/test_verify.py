"""`verify` where there is nothing to train: it says so before anything starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from support.records import make_record
from support.refusals import Command, assert_refused, everything, make_command

from stn_cluster.config_file import parse_config
from stn_cluster.registry import resolve
from stn_cluster.store import Store


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _no_temporary_store_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def filled(store: Store) -> Path:
    cells = resolve(parse_config({"recipe": "smoke", "models": ["CNN"]}))
    store.commit([make_record(cell) for cell in cells[1:]])
    store.commit([make_record(cells[0], error=None)])
    assert store.local_path is not None
    return store.local_path


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--sample", "0"], ["--sample", "at least 1"]),
        (["--sample-seed", "7"], ["--sample-seed", "goes with --sample"]),
        (["--model", "FCN"], ["no cell matches model=FCN", "CNN"]),
        (["--distortion", "R"], ["no cell can be verified", "CNN/none/R/seed0: failed"]),
        (["--into", "STORE"], ["--into", "is the store itself"]),
        (["--into", "STORE/"], ["--into", "is the store itself"]),
        (["--into", "STORE/../link"], ["--into", "is the store itself"]),
        (["--into", "STORE/../published"], ["published store"]),
        (["--workers", "0"], ["workers", "at least 1"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_what_cannot_be_verified_is_refused_in_one_line(
    command: Command, tmp_path: Path, filled: Path, arguments: list[str], parts: list[str]
) -> None:
    (tmp_path / "link").symlink_to(filled)
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "manifest.json").write_text("{}")
    before = everything(tmp_path)
    texts = [text.replace("STORE", str(filled)) for text in arguments]
    told = command("verify", "--store", filled, *texts)
    if arguments[0] == "--workers":  # after the cells were drawn, which is said
        told = told._replace(err="".join(told.err.splitlines(keepends=True)[-1:]))
    assert_refused(told, *parts)
    assert everything(tmp_path) == before


def test_without_a_store_there_is_nothing_to_verify(command: Command, tmp_path: Path) -> None:
    assert_refused(command("verify"), "--store")
    assert_refused(command("verify", "--store", tmp_path / "none"), "no result store here")
