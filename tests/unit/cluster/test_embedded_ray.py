"""Embedded Ray: what it needs of the machine is checked before it starts, and is its own."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from stn_cluster.cluster.embedded_ray import _cores, _short_folder, embedded_ray
from stn_cluster.errors import UserError

# Of the longest names that Ray gives: the second folder has the time and a process id.
SOCKET = Path("r", "session_2026-01-31_18-45-00_123456_4194304", "sockets", "plasma_store")


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here starts Ray; and Python looks for a folder for temporary files anew."""

    def start(**settings: object) -> None:
        pytest.fail("Ray was started")

    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr(tempfile, "tempdir", None)


# --- a folder for its files ---


def given(tmp_path: Path, kind: str) -> str:
    """A value of TMPDIR."""
    (tmp_path / "file").touch()
    (tmp_path / ("x" * 60)).mkdir()
    return {
        "long": str(tmp_path / ("x" * 60)),
        "relative": "x",
        "missing": str(tmp_path / "missing"),
        "a file": str(tmp_path / "file"),
        "not writable": "/proc",
        "empty": "",
    }[kind]


@pytest.mark.parametrize("kind", ["long", "relative", "missing", "a file", "not writable", "empty"])
def test_rays_sockets_fit_whatever_the_folder_for_temporary_files(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", given(tmp_path, kind))
    with _short_folder() as folder:
        assert folder.is_absolute()
        assert folder.stat().st_mode & 0o777 == 0o700
        path = folder / SOCKET
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    assert not folder.exists()
    assert sorted(os.listdir()) == ["file", "x" * 60]  # noqa: PTH208


def test_a_short_folder_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", None)
        with _short_folder() as folder:
            assert folder.parent == Path(place)


def test_no_folder_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(UserError, match=r"none of /tmp, .* can be written to .* TMPDIR"):
        _short_folder().__enter__()


# --- cores ---


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (0.01, 1), (1.5, 1), (2.0, 2), (None, 3)])
def test_a_container_may_have_less_than_a_core(
    quota: float | None,
    cores: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 3)
    monkeypatch.setattr("ray._private.utils._get_docker_cpus", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert _cores() == cores
    assert not caplog.records


def test_a_process_that_may_use_few_cores_has_few_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 7})
    assert _cores() == 2


# --- what cannot be ---


def test_rays_limit_of_open_files_is_told_before_it_would_wait_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    with pytest.raises(UserError, match=r"^ulimit -n: a process may open 64 files here"):
        embedded_ray(1, 1).__enter__()


def test_a_ray_of_the_users_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.shutdown", lambda: pytest.fail("it was shut down"))
    with pytest.raises(UserError, match=r"^Ray runs in this process already.* ray\.shutdown\(\)"):
        embedded_ray(1, 1).__enter__()


def test_a_second_run_in_another_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(**settings: object) -> None:
        entered.set()
        leave.wait(60)
        raise ValueError("no luck")

    monkeypatch.setattr("ray.init", wait)
    told: list[str] = []

    def run() -> None:
        try:
            embedded_ray(1, 1).__enter__()
        except UserError as error:
            told.append(str(error))

    first = threading.Thread(target=run)
    first.start()
    entered.wait(60)
    run()
    leave.set()
    first.join()
    assert told[0].startswith("this process runs a grid already")
    assert told[1] == "Ray does not start on this machine: no luck"
    run()
    assert told[2] == told[1]  # and not that another one runs


@pytest.mark.parametrize(
    "error", [KeyError("CPU"), OSError(12, "Cannot allocate memory"), TypeError()]
)
def test_whatever_ray_raises_is_one_line_and_the_process_is_as_before(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(**settings: object) -> None:
        assert not [
            name for name in os.environ if name.startswith("RAY_A") and name != "RAY_AUTH_TOKEN"
        ]
        assert Path.cwd() != tmp_path
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "there:1")
    monkeypatch.setattr("ray.init", fail)
    before = dict(os.environ)
    with pytest.raises(UserError, match=r"^Ray does not start on this machine: .+"):
        embedded_ray(1, 1).__enter__()
    assert Path.cwd() == tmp_path
    assert dict(os.environ) == before
