"""The process that draws: real, and killed, late, idle or wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.failures import alive
from support.records import make_cell, make_record

from stn_cluster.drawing import process as drawing_process
from stn_cluster.drawing.process import BusyError, DrawingProcess
from stn_cluster.errors import NotFoundError, ServiceError, UserError
from stn_cluster.store import Store

MISBEHAVIOUR = """
import os, time
from stn_cluster.drawing import tasks

def misbehave(workplace, request):
    how = request["how"]
    if how == "sleep":
        time.sleep(60)
    if how == "die":
        os._exit(3)
    if how == "raise":
        raise ZeroDivisionError("of a plug-in")
    print("what user code prints is no answer")
    return str(os.getpid()).encode()

tasks._FUNCTIONS["misbehave"] = __name__ + ":misbehave"
"""


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DrawingProcess]:
    """A process with a task of a plug-in, which misbehaves as it is told."""
    Store.open(tmp_path / "store", create=True).commit([make_record()])
    (tmp_path / "misbehaviour.py").write_text(MISBEHAVIOUR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = DrawingProcess(str(tmp_path / "store"), plugins=("misbehaviour",))
    yield started
    started.close()


def misbehave(drawings: DrawingProcess, how: str, seconds: float = 30) -> bytes:
    return drawings.ask("misbehave", {"how": how}, seconds)


def test_it_begins_when_it_is_asked_and_stays(drawings: DrawingProcess) -> None:
    assert drawings.pid is None
    first = misbehave(drawings, "")
    assert int(first) == drawings.pid
    assert misbehave(drawings, "") == first


def test_what_hangs_is_ended_and_the_next_request_answered(drawings: DrawingProcess) -> None:
    first = misbehave(drawings, "")
    with pytest.raises(ServiceError, match=r"took longer than 0\.2 s"):
        misbehave(drawings, "sleep", 0.2)
    assert drawings.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(first), 0)
    assert misbehave(drawings, "") != first


def test_user_code_that_ends_or_raises_is_an_error_of_its_own(drawings: DrawingProcess) -> None:
    with pytest.raises(ServiceError, match="has died"):
        misbehave(drawings, "die")
    with pytest.raises(ServiceError, match="ZeroDivisionError: of a plug-in"):
        misbehave(drawings, "raise")
    assert misbehave(drawings, "")


def test_one_that_was_killed_while_idle_is_not_noticed(drawings: DrawingProcess) -> None:
    first = misbehave(drawings, "")
    os.kill(int(first), signal.SIGKILL)
    assert misbehave(drawings, "") != first


def test_wrong_requests_keep_their_kind(drawings: DrawingProcess) -> None:
    with pytest.raises(NotFoundError, match="give a label"):
        drawings.ask("images", {"key": "0" * 16, "attempt": None, "images": [0]})
    with pytest.raises(UserError) as told:
        drawings.ask("plan", {"yaml": "recipe: fsat", "workers": None})
    assert "did you mean 'fast'" in str(told.value)
    assert not isinstance(told.value, ServiceError)


def test_a_plan_has_the_config_as_json(drawings: DrawingProcess) -> None:
    yaml = "dataset: digits\nrecipe: smoke\nmodels: [FCN]\ndistortions: [E]\nseeds: [0, 1]"
    plan: dict[str, Any] = json.loads(drawings.ask("plan", {"yaml": yaml, "workers": 2}, 60))
    assert (plan["cells"], plan["to_train"]) == (2, 2)
    assert plan["config"]["models"] == ["FCN"]
    assert any(line.startswith("cells") for line in plan["lines"])


def test_too_many_requests_are_refused(
    drawings: DrawingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing_process, "WAITING", 1)
    small = DrawingProcess(drawings._start_with["store"], plugins=("misbehaviour",))
    misbehave(small, "")
    began = threading.Event()
    ended = threading.Event()

    def hang() -> None:
        began.set()
        with pytest.raises(ServiceError):
            misbehave(small, "sleep", 3)
        ended.set()

    thread = threading.Thread(target=hang)
    thread.start()
    began.wait()
    while not small._turn.locked():
        pass
    with pytest.raises(BusyError, match="1 requests for drawings are waiting"):
        misbehave(small, "")
    thread.join()
    assert ended.is_set()
    small.close()


def test_its_end_waits_for_nothing_that_it_computes(drawings: DrawingProcess) -> None:
    misbehave(drawings, "")
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(ServiceError) as error:
            misbehave(drawings, "sleep", 60)
        told.append(str(error.value))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not drawings._turn.locked():
        pass
    drawings.close()
    for thread in threads:
        thread.join(timeout=20)
    assert told == ["the server is ending"] * 3
    assert drawings.pid is None


ASKING = """
import sys
from stn_cluster.drawing.process import DrawingProcess
drawings = DrawingProcess(sys.argv[1], plugins=("misbehaviour",))
print(drawings.ask("misbehave", {"how": ""}, 60).decode(), flush=True)
drawings.ask("misbehave", {"how": "sleep"}, 60)
"""


def test_it_ends_with_a_server_that_was_killed_during_a_task(drawings: DrawingProcess) -> None:
    store = str(drawings._start_with["store"])
    command = [sys.executable, "-c", ASKING, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(pid)


def test_data_that_nobody_has_named_is_not_fetched(
    drawings: DrawingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = make_record(make_cell(dataset="mnist"))
    Store.open(tmp_path / "store").commit([record])
    asked = {"key": record.row["key"], "attempt": None, "images": [0]}
    with pytest.raises(UserError, match="name their folder with --data-root"):
        drawings.ask("images", asked)
    figure = asked | {"choice": "random", "count": 1, "images": [], "theme": "light"}
    with pytest.raises(UserError, match="name their folder with --data-root"):
        drawings.ask("transformations", figure)
    assert not (tmp_path / "data").exists()
