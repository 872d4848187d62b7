"""Refused commands: calls them in this process, and checks their output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from stn_cluster.cli import main


class Told(NamedTuple):
    """Exit code and output of a command."""

    code: object
    out: str
    err: str


Command = Callable[..., Told]


def make_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; the test fails if it starts to train."""

    def call(*arguments: str | Path) -> Told:
        monkeypatch.setattr(sys, "argv", ["stn-cluster", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Told(end.value.code, *capsys.readouterr())

    def train(*_: object, **__: object) -> NoReturn:
        pytest.fail("Ray was started")  # no Exception, which would be a reason to refuse

    monkeypatch.setattr("ray.init", train)
    monkeypatch.delenv("STN_CLUSTER_DATA", raising=False)
    return call


def everything(folder: Path) -> dict[str, bytes | None]:
    """Contents of a folder: files with their bytes, folders as None; {} if it does not exist."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in (folder, *folder.rglob("*"))
        if path.exists()
    }


def assert_refused(told: Told, *parts: str) -> None:
    """Checks for exit code 2, empty stdout, and one stderr line that contains all these parts."""
    assert (told.code, told.out) == (2, ""), told
    assert told.err.startswith("stn-cluster: "), told
    assert told.err.endswith("\n"), told
    assert len(told.err.splitlines()) == 1, told
    for part in parts:
        assert part in told.err, (part, told)
