"""Supervision: a failed task ends its process, and processes that crash are counted."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stn_cluster.cluster import supervision as module
from stn_cluster.cluster.ray_exits import RayExit
from stn_cluster.cluster.supervision import (
    CRASHED,
    MAX_CRASHES,
    MEMORY_WINDOW_SECONDS,
    WINDOW_SECONDS,
    CrashLog,
    Supervisor,
)

FAILING = """
import asyncio, logging, sys, time
from pathlib import Path
from stn_cluster.cluster.supervision import CrashLog, Supervisor

logging.basicConfig()
time.sleep = lambda seconds: print(f"slept {seconds:g}", flush=True)

async def fails():
    raise KeyError("no such cell")

async def goes_on():
    await asyncio.sleep(1000)

async def main():
    supervisor = Supervisor(CrashLog(Path(sys.argv[1])))
    supervisor.start("write results", goes_on())
    supervisor.start("plan workers", fails())
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def run(state: Path) -> subprocess.CompletedProcess[str]:
    """A process in which a task fails."""
    return subprocess.run(
        [sys.executable, "-c", FAILING, str(state)], capture_output=True, text=True, timeout=60
    )


# --- tasks ---


def test_a_failed_task_ends_the_process_with_its_name_in_the_log(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == CRASHED
    assert "the coordinator ends: plan workers failed" in done.stderr
    assert "KeyError: 'no such cell'" in done.stderr
    assert 'raise KeyError("no such cell")' in done.stderr or "in fails" in done.stderr
    [crash] = json.loads((tmp_path / "crashes.json").read_text())
    assert crash["message"] == "plan workers: KeyError: 'no such cell'"
    assert abs(crash["at"] - time.time()) < WINDOW_SECONDS
    assert "slept" not in done.stdout


def test_a_crash_that_cannot_be_counted_does_not_come_again_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "gone"  # as on a disk that is not there
    done = run(folder)
    assert done.returncode == CRASHED
    assert done.stdout == f"slept {WINDOW_SECONDS / MAX_CRASHES:g}\n"
    assert "plan workers failed" in done.stderr


@pytest.mark.anyio
async def test_tasks_that_end_or_are_cancelled_are_no_failures(tmp_path: Path) -> None:
    async def ends() -> None:
        pass

    supervisor = Supervisor(CrashLog(tmp_path))
    done = supervisor.start("end", ends())
    cancelled = supervisor.start("wait", asyncio.sleep(1000))
    others = supervisor.start("wait, too", asyncio.sleep(1000))
    await done
    cancelled.cancel()
    await asyncio.wait([cancelled])
    supervisor.cancel_all()
    await asyncio.wait([others])
    assert done.get_name() == "end"
    assert others.cancelled()
    assert list(tmp_path.iterdir()) == []


# --- crashes ---


@pytest.fixture
def crashes(tmp_path: Path) -> CrashLog:
    return CrashLog(tmp_path)


def test_three_crashes_within_a_minute_are_too_many_and_the_last_is_told(
    crashes: CrashLog,
) -> None:
    for number in range(MAX_CRASHES):
        assert crashes.verdict() is None
        crashes.add(f"task {number}: KeyError: 'x'")
    assert crashes.verdict() == (
        "the coordinator failed 3 times within 60 seconds, last with: task 2: KeyError: 'x'"
    )


def test_the_verdict_is_found_by_the_next_process(crashes: CrashLog, tmp_path: Path) -> None:
    for _ in range(MAX_CRASHES):
        CrashLog(tmp_path).add("again")
    assert crashes.verdict() is not None
    crashes.clear()
    assert CrashLog(tmp_path).verdict() is None
    crashes.clear()  # there is none left, and that is fine


def test_crashes_of_long_ago_do_not_count(
    crashes: CrashLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()
    for number in range(10):
        now = start + number * (WINDOW_SECONDS / 2 + 1)  # never three within the window
        monkeypatch.setattr(module.time, "time", lambda now=now: now)
        crashes.add("now and then")
        assert crashes.verdict() is None
    crashes.add("at once")
    assert crashes.verdict() is not None


# --- processes that were killed because memory was short ---


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes the system has killed so far."""
    counts = [7]
    monkeypatch.setattr(module, "count_kills", lambda: counts[0])
    monkeypatch.setattr(module, "exit_of", lambda process: None)
    return counts


def test_three_deaths_for_want_of_memory_are_too_many_also_within_minutes(
    tmp_path: Path, kills: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()
    for number in range(MAX_CRASHES):
        now = start + number * 200
        monkeypatch.setattr(module.time, "time", lambda now=now: now)
        CrashLog(tmp_path).begin()
        assert CrashLog(tmp_path).verdict() is None
        kills[0] += 1
    CrashLog(tmp_path).begin()
    assert str(CrashLog(tmp_path).verdict()).startswith(
        "memory was short: the coordinator was killed for it 3 times within 10 minutes, after its "
        "workers; start fewer workers"
    )
    monkeypatch.setattr(module.time, "time", lambda: start + 2 * MEMORY_WINDOW_SECONDS)
    assert CrashLog(tmp_path).verdict() is None


def test_what_rays_memory_monitor_killed_counts_too(
    tmp_path: Path, kills: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    ends = {True: RayExit(for_memory=True, text="killed"), False: None}
    monkeypatch.setattr(module, "exit_of", lambda process: ends[process in killed])
    for _ in range(MAX_CRASHES + 1):
        CrashLog(tmp_path).begin()
        killed.append(os.getpid())
    assert "memory was short" in str(CrashLog(tmp_path).verdict())


def test_a_process_that_was_killed_otherwise_or_that_failed_was_not_short_of_memory(
    tmp_path: Path, kills: list[int]
) -> None:
    for _ in range(2 * MAX_CRASHES):
        CrashLog(tmp_path).begin()
    assert CrashLog(tmp_path).verdict() is None
    for _ in range(MAX_CRASHES):
        CrashLog(tmp_path).add("plan workers: KeyError: 'x'")
        kills[0] += 1  # somebody else's
        CrashLog(tmp_path).begin()
    assert str(CrashLog(tmp_path).verdict()).endswith("last with: plan workers: KeyError: 'x'")


def test_a_state_disk_that_is_full_keeps_no_coordinator_from_starting(tmp_path: Path) -> None:
    CrashLog(tmp_path / "gone").begin()


@pytest.mark.parametrize("content", ["", '[{"at": 1, "mess', "{}", "\x00\x00"])
def test_a_file_that_a_full_disk_cut_off_has_no_crashes(
    crashes: CrashLog, tmp_path: Path, content: str
) -> None:
    (tmp_path / "crashes.json").write_text(content)
    assert crashes.verdict() is None
    crashes.add("first")
    assert [crash["message"] for crash in json.loads((tmp_path / "crashes.json").read_text())] == [
        "first"
    ]
