"""Logs of attempts: lines, prints and logging, gathered until they are taken."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from stn_cluster.cluster.attempt_log import MAX_CHARACTERS, AttemptLog

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


def test_prints_and_logging_of_other_threads_are_not_the_packs(
    log: AttemptLog, logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        print("somebody else")
        logger.warning("somebody else's warning")

    with log.gathering(["a"]):
        print("mine, ", end="")
        other = threading.Thread(target=write)
        other.start()
        other.join()
        print("whole")
    assert new_lines(log) == ["mine, whole"]
    beside = capfd.readouterr().err
    assert "somebody else\n" in beside
    assert "somebody else's warning" in beside


# --- too much ---


def test_a_log_beyond_the_limit_is_cut_off_with_a_note_until_it_is_taken(log: AttemptLog) -> None:
    for number in range(3000):
        log.line("a", f"{number:04d} {'x' * 100}")
    log.line("b", "another's is not cut")
    taken = log.take()
    assert MAX_CHARACTERS < len(taken["a"]) < MAX_CHARACTERS + 100
    assert taken["a"].endswith("\n... cut off\n")
    assert taken["a"].count("cut off") == 1
    assert taken["b"].endswith("another's is not cut\n")
    log.line("a", "again")
    assert new_lines(log) == ["again"]


def test_one_line_beyond_the_limit_is_cut_off(log: AttemptLog) -> None:
    log.line("a", "x" * 10 * MAX_CHARACTERS)
    text = log.take()["a"]
    assert text.endswith("xxx\n... cut off\n")
    assert len(text) < MAX_CHARACTERS + 100


def test_the_note_is_there_also_where_the_lines_before_just_fill_the_limit(
    log: AttemptLog,
) -> None:
    log.line("a", "")
    stamped = len(log.take()["a"])  # of an empty line
    log.line("a", "x" * (MAX_CHARACTERS - stamped))
    log.line("a", "one too many")
    text = log.take()["a"]
    assert len(text.splitlines()[0]) == MAX_CHARACTERS - 1
    assert text.endswith("... cut off\n")
    assert "one too many" not in text
