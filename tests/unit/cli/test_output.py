"""Output: a training does not end for progress that nobody can read, a result is whole or fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from support.records import make_record

from stn_cluster.display.console import make_console
from stn_cluster.display.progress_view import LiveView, PlainView, make_view
from stn_cluster.store import Store

# Follows a job with a failed and a succeeded cell to its end, then prints a table; what follows the
# end of the statuses stands for the checkpoints.
JOB = """
import sys
from pathlib import Path
import typer
from stn_cluster.cli import run_app
from stn_cluster.cli.progress import follow, print_result
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus

def statuses():
    name = CellName("k", "CNN", "none", "R", 0, "digits", "smoke", 8)
    ends = {"succeed": (CellState.SUCCEEDED, None), "fail": (CellState.FAILED, "no \\u00b1 luck")}
    state, error = ends[sys.argv[1]]
    try:
        for step in range(3):
            running = CellStatus(name, CellState.RUNNING, step=step)
            yield JobStatus("job", CellState.RUNNING, {CellState.RUNNING: 1}, cells=(running,),
                            trouble=f"trouble {step}")
        ended = CellStatus(name, state, step=8, test_error=1.0, error=error)
        yield JobStatus("job", state, {state: 1}, cells=(ended,))
    finally:
        Path(sys.argv[2]).write_text("checkpoints")

def job(how: str, kept: str):
    status = follow(statuses(), interrupted="again")
    print_result("a table \\u00b1 0\\n", status.cells)

app = typer.Typer()
app.command()(job)
run_app(app, "job")
"""


def run_job(how: str, kept: Path, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **streams.pop("env", {})}
    done = subprocess.run(
        [sys.executable, "-c", JOB, how, str(kept)], env=environment, timeout=60, **streams
    )
    assert kept.read_text() == "checkpoints"
    return done


@contextmanager
def closed_pipe() -> Iterator[int]:
    """The end of a pipe whose reader has exited."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def lost_terminal() -> Iterator[int]:
    """A terminal that has been closed: writing to it fails."""
    master, terminal = os.openpty()
    os.close(master)
    yield terminal
    os.close(terminal)


@contextmanager
def full_disk() -> Iterator[int]:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        yield full.fileno()


BROKEN = [closed_pipe, lost_terminal, full_disk]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("how", "code"), [("succeed", 0), ("fail", 1)])
def test_progress_that_cannot_be_written_does_not_end_a_job(
    broken: Any, how: str, code: int, tmp_path: Path
) -> None:
    with broken() as stream:
        done = run_job(how, tmp_path / "kept", stderr=stream, stdout=subprocess.PIPE)
    assert done.returncode == code
    assert done.stdout.decode() == "a table ± 0\n"


@pytest.mark.parametrize(("how", "code"), [("succeed", 0), ("fail", 1)])
def test_a_reader_of_the_table_that_leaves_does_not_change_the_exit_code(
    how: str, code: int, tmp_path: Path
) -> None:
    with closed_pipe() as stream:
        done = run_job(how, tmp_path / "kept", stdout=stream, stderr=subprocess.PIPE)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("broken", [lost_terminal, full_disk])
def test_a_table_that_cannot_be_written_is_an_error(broken: Any, tmp_path: Path) -> None:
    with broken() as stream:
        done = run_job("succeed", tmp_path / "kept", stdout=stream, stderr=subprocess.PIPE)
    assert done.returncode == 2
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("job: standard output: ")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_are_no_files_of_the_next_to_open_one(
    closed: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    command = f'exec "$0" -c "$1" succeed "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, JOB, str(kept)], timeout=60, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert kept.read_text() == "checkpoints"  # and nothing of the table or the progress
    assert (done.stdout.decode() == "a table ± 0\n") is ("1>" not in closed)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_locale_that_lacks_a_character_gets_another_encoding_or_an_escape(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = run_job("fail", tmp_path / "kept", env=env, capture_output=True)
    assert done.returncode == 1
    written = [
        sign.encode(code) for sign, code in (("±", "utf-8"), ("±", "latin-1"), (r"\xb1", "ascii"))
    ]
    assert done.stdout in [b"a table " + sign + b" 0\n" for sign in written]
    assert any(b"no " + sign + b" luck" in done.stderr for sign in written)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["results"], ["table"], ["results", "--format", "csv"]])
def test_commands_that_look_at_a_store_fail_in_one_line_or_silently(
    arguments: list[str], store: Store
) -> None:
    store.commit([make_record()])
    command = [sys.executable, "-m", "stn_cluster.cli", *arguments, "--store", store.uri]
    for broken, code, lines in ((full_disk, 2, 1), (closed_pipe, 0, 0)):
        with broken() as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, timeout=60)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr


# --- width and colours ---


def wide_table() -> Table:
    table = Table(box=None)
    for number in range(30):
        table.add_column(f"column {number}")
    table.add_row(*(f"{'x' * 20}{number}" for number in range(30)))
    return table


@pytest.mark.parametrize("columns", ["80", "0", "1", "abc", ""])
@pytest.mark.parametrize("colours", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_pipe_gets_whole_tables_in_plain_text(
    columns: str, colours: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"COLUMNS": columns, "TERM": "xterm-256color", **colours}.items():
        monkeypatch.setenv(name, value)
    paper = StringIO()
    console = make_console(paper)
    console.print(wide_table())
    console.print(Text("y" * 500, style="red"))
    head, row, text = paper.getvalue().splitlines()
    assert head.split()[1::2] == [str(number) for number in range(30)]
    assert row.split() == [f"{'x' * 20}{number}" for number in range(30)]
    assert text == "y" * 500
    assert isinstance(make_view(console), PlainView)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "view"), [("xterm", LiveView), ("dumb", PlainView), ("unknown", PlainView)]
)
def test_a_terminal_that_cannot_redraw_gets_lines(
    term: str, view: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert isinstance(make_view(make_console(Terminal())), view)


def test_a_narrow_terminal_crops_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from stn_cluster.display.progress_view import job_list
    from stn_cluster.queue.jobs import CellState, JobStatus

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    ids = [f"{'a-long-name-' * 3}{number}" for number in range(2)]
    paper = Terminal()
    console = make_console(paper)
    console.print(job_list([JobStatus(i, CellState.QUEUED, {CellState.QUEUED: 1}) for i in ids]))
    text = "".join(line.split(" ")[0] for line in paper.getvalue().splitlines())
    assert "…" not in paper.getvalue()
    assert all(job_id in text for job_id in ids)
