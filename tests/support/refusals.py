"""Commands that are refused: called in this process, and what is asserted of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from stn_cluster.cli import main


class Told(NamedTuple):
    """How a command ended."""

    code: object
    out: str
    err: str


Command = Callable[..., Told]


def make_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process; beginning to train would fail the test."""

    def call(*arguments: str | Path) -> Told:
        monkeypatch.setattr(sys, "argv", ["stn-cluster", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Told(end.value.code, *capsys.readouterr())

    def train(*_: object, **__: object) -> NoReturn:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", train)
    monkeypatch.delenv("STN_CLUSTER_DATA", raising=False)
    return call


def everything(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder: files with their bytes, folders as None; {} if it is not there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in (folder, *folder.rglob("*"))
        if path.exists()
    }


def assert_refused(told: Told, *parts: str) -> None:
    """Exit code 2, nothing on stdout, and one line on stderr with all these parts in it."""
    assert (told.code, told.out) == (2, ""), told
    assert told.err.startswith("stn-cluster: "), told
    assert told.err.endswith("\n"), told
    assert len(told.err.splitlines()) == 1, told
    for part in parts:
        assert part in told.err, (part, told)
