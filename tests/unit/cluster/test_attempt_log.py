"""Logs of attempts: lines, prints and logging, gathered until they are taken."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stn_cluster.cluster import spool
from stn_cluster.cluster.attempt_log import (
    MAX_CHARACTERS,
    MAX_LINE,
    PIECE,
    AttemptLog,
    lines_after_death,
)
from stn_cluster.cluster.captured_output import captured_output
from stn_cluster.cluster.spool import last_output, make_folder

STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*")


def lines_of(text: str) -> list[str]:
    """The lines of a log, without their times."""
    assert all(STAMPED.fullmatch(line) for line in text.splitlines())
    return [line.partition(" ")[2] for line in text.splitlines()]


def new_lines(log: AttemptLog) -> list[str]:
    """The lines of attempt `a` that are new, without their times."""
    return lines_of(log.take().get("a", ""))


@pytest.fixture
def log() -> AttemptLog:
    return AttemptLog()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("some.library")
    made.setLevel(logging.INFO)
    yield made
    made.setLevel(logging.NOTSET)


# --- lines ---


def test_a_line_has_the_time_before_it_and_is_taken_once(log: AttemptLog) -> None:
    log.line("a", "first")
    log.line("b", "another's")
    log.line("a", "second")
    taken = log.take()
    assert set(taken) == {"a", "b"}
    assert [STAMPED.fullmatch(line) for line in taken["a"].splitlines()]
    assert taken["a"].endswith(" second\n")
    assert log.take() == {}
    log.line("a", "third")
    assert new_lines(log) == ["third"]


def test_lines_of_many_threads_are_all_there_whole_and_in_each_threads_order(
    log: AttemptLog,
) -> None:
    threads, lines = 8, 200
    ready = threading.Barrier(threads + 1)
    taken: list[str] = []

    def write(name: int) -> None:
        ready.wait()
        for number in range(lines):
            log.line("a", f"{name} {number}")

    writers = [threading.Thread(target=write, args=(name,)) for name in range(threads)]
    for writer in writers:
        writer.start()
    ready.wait()
    while any(writer.is_alive() for writer in writers):
        taken += new_lines(log)
    taken += new_lines(log)
    for name in range(threads):
        mine = [line for line in taken if line.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(lines)]
    assert len(taken) == threads * lines


# --- prints and logging ---


def test_prints_of_a_pack_go_to_all_of_its_attempts(log: AttemptLog) -> None:
    with log.gathering(["a", "b"]):
        print("one", "line")
        print("to stderr", file=sys.stderr)
    assert {attempt: lines_of(text) for attempt, text in log.take().items()} == {
        "a": ["one line", "to stderr"],
        "b": ["one line", "to stderr"],
    }


def test_a_line_is_whole_however_it_is_printed_and_the_last_needs_no_end(log: AttemptLog) -> None:
    with log.gathering(["a"]):
        print("epoch", end=" ")
        print(1, end="")
        print(": done\nepoch 2", end="")
        assert new_lines(log) == ["epoch 1: done"]
        print()
        print("\nlast", end="")
    assert new_lines(log) == ["epoch 2", "", "last"]


def test_logging_of_libraries_is_gathered_with_level_and_name(
    log: AttemptLog, logger: logging.Logger
) -> None:
    with log.gathering(["a"]):
        logger.warning("careful: %d", 7)
        logger.debug("too fine")
    logger.warning("after")
    assert new_lines(log) == ["WARNING some.library: careful: 7"]


def test_prints_go_where_they_went_before_once_the_block_has_ended(
    log: AttemptLog, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.stdout, sys.stderr, list(logging.getLogger().handlers)

    def break_off() -> None:
        with log.gathering(["a"]):
            print("gathered", end="")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert (sys.stdout, sys.stderr, logging.getLogger().handlers) == before
    print("not gathered")
    assert new_lines(log) == ["gathered"]
    assert capsys.readouterr().out == "not gathered\n"


def test_everything_that_a_process_can_print_is_gathered(
    log: AttemptLog, logger: logging.Logger
) -> None:
    libc = ctypes.CDLL(None)
    with log.gathering(["a"]):
        early = logging.StreamHandler(sys.stderr)  # as a library adds it when it is imported
        os.write(1, b"by its descriptor\n")
        os.write(2, b"as an error\n")
        sys.stdout.buffer.write("as bytes: \u00e9\n".encode())
        subprocess.run(["echo", "a child process"], check=True)
        libc.puts(b"a C library")
        libc.printf(b"without an end")
        thread = threading.Thread(target=lambda: print("\na thread"))
        thread.start()
        thread.join()
    with log.gathering(["a"]):
        logger.addHandler(early)
        logger.warning("later")
        logger.removeHandler(early)
    assert new_lines(log) == [
        "by its descriptor",
        "as an error",
        "as bytes: \u00e9",
        "a child process",
        "a C library",
        "without an end",
        "a thread",
        "later",
        "WARNING some.library: later",
    ]


def test_what_user_code_prints_to_is_a_whole_text_file(log: AttemptLog) -> None:
    with log.gathering(["a"]):
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            assert isinstance(stream, io.TextIOBase)
            assert (stream.fileno(), stream.encoding, stream.isatty()) == (number, "utf-8", False)
            assert stream.buffer.fileno() == number
            assert (stream.name, stream.mode) == (("<stdout>", "<stderr>")[number - 1], "w")
            assert stream.writable()
            assert not stream.readable()
            stream.reconfigure(line_buffering=True)
            stream.writelines(["a\n", "b\n"])
            print("c", file=stream, flush=True)
            print("half of a surrogate: \udcff", file=stream)
            subprocess.run(["echo", "d"], stdout=stream, check=True)
    assert new_lines(log) == 2 * ["a", "b", "c", r"half of a surrogate: \udcff", "d"]


def test_what_a_cell_does_to_the_streams_is_undone_when_its_turn_ends(log: AttemptLog) -> None:
    with log.gathering(["a", "b"]):
        log.turn("a")
        sys.stdout.close()
        sys.stderr = io.StringIO()
        log.turn("b")
        print("still there")
        print("and here", file=sys.stderr)
    assert lines_of(log.take()["b"]) == ["still there", "and here"]


def test_a_full_disk_does_not_fail_a_cell_that_prints() -> None:
    with captured_output() as redirect, open("/dev/full", "wb") as full:  # noqa: PTH123
        redirect(full.fileno())
        print("nobody hears it", flush=True)
        os_error = sys.stdout.buffer.write(b"nor this")
    assert os_error == len(b"nor this")


# --- whose it is ---


def test_output_is_of_the_cell_whose_turn_it_is(log: AttemptLog) -> None:
    with log.gathering(["a", "b"]):
        print("of both")
        log.turn("a")
        print("of a, ", end="")
        slow = subprocess.Popen(["sh", "-c", "read line; echo a child of a"], stdin=subprocess.PIPE)
        log.turn("b")
        os.write(1, b"of b\n")
        slow.communicate(b"now\n")
        log.turn("a")
        print("again")
        log.turn(None)
        print("of both again")
    taken = log.take()
    assert lines_of(taken["a"]) == ["of both", "of a, a child of a", "again", "of both again"]
    assert lines_of(taken["b"]) == ["of both", "of b", "of both again"]


def test_a_line_of_the_runner_follows_what_was_printed_before_it(log: AttemptLog) -> None:
    with log.gathering(["a", "b"]):
        log.turn("a")
        print("printed")
        log.line("a", "said")
        print("printed again")
    assert new_lines(log) == ["printed", "said", "printed again"]


# --- progress bars, colours ---


def test_of_a_line_that_overwrites_itself_the_last_state_is_kept(log: AttemptLog) -> None:
    with log.gathering(["a"]):
        for percent in range(0, 101, 5):
            print(f"\r{percent:3d}% |", end="", flush=True)
            assert new_lines(log) == []
        print("\nnext\r\n50%\r60%\r", end="")
        print("70%")
    assert new_lines(log) == ["100% |", "next", "70%"]


def test_colours_are_left_out_and_other_control_characters_shown(log: AttemptLog) -> None:
    with log.gathering(["a"]):
        print("\x1b[1;31mred\x1b[0m and \x00 and \u202eback")
        print("\x1b]0;title\x07tab\there")
    assert new_lines(log) == [r"red and \x00 and \u202eback", "tab\there"]


# --- after the process's death ---

DYING = r"""
import ctypes, os, signal, sys
from stn_cluster.cluster.attempt_log import AttemptLog

log = AttemptLog("worker-1")
with log.gathering(["a", "b"]):
    print("of both")
    log.turn("a")
    print("known")
    log.take()
    log.delivered()
    print("not known")
    log.take()  # it dies before that has arrived
    ctypes.CDLL(None).puts(b"by C")
    print("no end", end="")
    log.turn("b")
    print("the last line", end="")
    exec(sys.argv[1])
"""


@pytest.mark.parametrize(
    "death",
    ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "ctypes.string_at(0)", "os.abort()"],
)
def test_what_a_process_printed_before_its_death_is_read_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", DYING, death], env=environment, timeout=60, check=False
    )
    assert done.returncode != 0
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    output = last_output("worker-1")
    texts = lines_after_death(output, ["a", "b", "c"])
    assert lines_of(texts["a"]) == ["not known", "by C", "no end"]
    first, *traceback = lines_of(texts["b"])
    if death in ("ctypes.string_at(0)", "os.abort()"):
        assert first.startswith("the last lineFatal Python error: ")
        assert any("string_at" in line or '"<string>"' in line for line in traceback)
    else:
        assert (first, traceback) == ("the last line", [])
    assert set(texts) == {"a", "b"}
    assert last_output("worker-1") == {}  # it is removed


def test_nothing_is_left_where_a_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old = make_folder("of long ago")
    assert old is not None
    os.utime(old, (0, 0))
    log = AttemptLog("worker-1")
    with log.gathering(["a"]):
        print("printed")
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["shared"]
    assert new_lines(log) == ["printed"]
    [root] = tmp_path.iterdir()
    assert root.stat().st_mode & 0o777 == 0o700
    assert list(root.iterdir()) == []


def test_a_place_for_spools_that_is_somebody_elses_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"stn-cluster-output-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"stn-cluster-output-{os.getuid()}").chmod(0o777)
    assert make_folder("worker-1") is None
    log = AttemptLog("worker-1")
    with log.gathering(["a"]):
        print("printed")
    assert new_lines(log) == ["printed"]


# --- too much ---


def test_of_too_much_the_first_and_the_last_lines_are_kept_and_it_is_said_what_was_cut(
    log: AttemptLog,
) -> None:
    with log.gathering(["a", "b"]):
        log.turn("a")
        for number in range(3000):
            print(f"{number:04d} {'x' * 100}")
        log.turn("b")
        print("another's is not cut")
    taken = log.take()
    assert lines_of(taken["b"]) == ["another's is not cut"]
    lines = taken["a"].splitlines()
    [note] = [line for line in lines if line.startswith("...")]
    [cut] = re.findall(r"\.\.\. ([\d,]+) lines cut off, [\d,]+ characters \.\.\.", note)
    assert len(lines) - 1 + int(cut.replace(",", "")) == 3000
    assert " 0000 " in lines[0]
    assert " 2999 " in lines[-1]
    assert MAX_CHARACTERS - 1000 < len(taken["a"]) < MAX_CHARACTERS + 1000
    log.line("a", "again")
    assert new_lines(log) == ["again"]


def test_one_line_beyond_the_limit_is_cut_off(log: AttemptLog) -> None:
    log.line("a", "x" * (MAX_LINE + 5))
    text = log.take()["a"]
    assert text.endswith(f"x ... {len('2026-01-31T18:45:00Z ') + 6} characters cut off\n")
    assert len(text) < MAX_LINE + 100


def test_a_line_without_an_end_is_kept_in_pieces(log: AttemptLog) -> None:
    with log.gathering(["a"]):
        for _ in range(3):
            print("x" * (PIECE - 1), end="")
            log.line("a", "meanwhile")
        print("y")
    pieces = [line for line in new_lines(log) if line != "meanwhile"]
    assert "".join(pieces) == "x" * 3 * (PIECE - 1) + "y"
    assert [len(piece) for piece in pieces] == [PIECE, PIECE - 2, PIECE]


def test_a_spool_that_grows_too_large_begins_anew(
    log: AttemptLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_BYTES", 1000)
    with log.gathering(["a"]):
        for number in range(100):
            print(number, "x" * 20)
            assert [line.split()[0] for line in new_lines(log)] == [str(number)]
            log.delivered()
            assert os.fstat(1).st_size < 1100


def test_output_of_a_pack_of_several_days_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = make_folder("worker-1")
    assert folder is not None
    one = spool.Spool(folder, "shared")
    os.utime(folder, (0, 0))  # it was made long ago, and is written to now
    os.write(one.descriptor, b"the last words")
    spool.remove_abandoned()  # as each new worker of the machine does
    assert last_output("worker-1") == {"shared": b"the last words"}
