"""Exit codes: 1 means that cells failed, and nothing else."""

from __future__ import annotations

import sys

import pytest
import typer

from stn_cluster.cli import run_app
from stn_cluster.cli.output import ReaderGoneError
from stn_cluster.errors import StoreError, UserError


def ended(
    error: BaseException | None, monkeypatch: pytest.MonkeyPatch, *options: str
) -> int | str | None:
    """Exit code of a program whose command raises this."""

    def command() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sys, "argv", ["program", *options])
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    with pytest.raises(SystemExit) as end:
        run_app(app, "program")
    return end.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, None),
        (typer.Exit(0), 0, None),
        (typer.Exit(1), 1, None),  # said by the commands alone, of failed cells
        (UserError("no\nluck"), 2, "program: no luck"),
        (StoreError("no luck"), 2, "program: no luck"),
        (ModuleNotFoundError("x", name="ray.train"), 2, "program: this needs ray.train: install"),
        (PermissionError(13, "Permission denied", "/a/b"), 2, "program: /a/b: Permission denied"),
        (OSError(28, "No space left on device"), 2, "program: [Errno 28] No space left on device"),
        (MemoryError("3 GB"), 2, "program: there is not enough memory here: 3 GB"),
        (KeyboardInterrupt(), 130, None),
        (ReaderGoneError(), 0, None),
    ],
)
def test_an_end_has_its_code_and_at_most_one_line(
    error: BaseException | None,
    code: int,
    line: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(error, monkeypatch) == code
    told = capsys.readouterr().err.splitlines()
    assert len(told) == (line is not None)
    assert line is None or told[0].startswith(line)


@pytest.mark.parametrize(
    "error",
    [KeyError("CPU"), AssertionError("odd"), SystemExit(1), SystemExit("odd"), ImportError("x")],
)
def test_an_error_of_our_own_shows_where_it_is_and_is_not_a_failed_cell(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error, monkeypatch) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert type(error).__name__ in told
    assert told.splitlines()[-1].startswith("program: an error of its own")


def test_debug_shows_the_traceback_and_changes_no_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(UserError("no luck"), monkeypatch, "--debug") == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1] == "program: no luck"


def test_a_wrong_option_is_wrong_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(None, monkeypatch, "--nope") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
