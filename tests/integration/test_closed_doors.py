"""A service to which no token was given: others of the machine stay out, its own user does not."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.ray_head import Head, free_ports, ray_head
from support.servers import Server

from stn_cluster import Client

QUICK = {"recipe": "smoke", "models": ["FCN"], "distortions": ["E"]}


class Unguarded(Server):
    """A server whose environment has no token."""

    @property
    def environment(self) -> dict[str, str]:
        found = os.environ | self.head.environment
        found.pop("STN_CLUSTER_TOKEN", None)
        return found | {"XDG_STATE_HOME": str(self.folder / "notes")}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as running:
        yield running


def open_to_others(folder: Path) -> list[str]:
    paths = [folder, *folder.rglob("*")]
    return [str(path) for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_it_makes_a_token_that_its_user_finds_and_all_is_closed(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "notes"))
    monkeypatch.delenv("STN_CLUSTER_TOKEN", raising=False)
    before = os.umask(0o022)
    try:
        server = Unguarded(head, tmp_path, *free_ports(1))
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(0o755)  # as an older version made it
        server.start()
        assert httpx.get(f"{server.url}/v1/jobs").status_code == 401
        # Ray's own, into which others could put code for its jobs
        assert (Path(head.folder) / "session_latest").resolve().stat().st_mode & 0o077 == 0
        with Client(server.url) as client:
            job = client.submit(QUICK)
            *_, status = client.watch(job.job_id)
        assert status.state.value == "succeeded"
        assert open_to_others(tmp_path / "state") == []
        assert open_to_others(server.store) == []
        note = tmp_path / "notes" / "stn-cluster" / f"127.0.0.1-{server.port}"
        assert note.read_text().strip() == str(tmp_path / "state")
        assert server.end(signal.SIGTERM) == 0
        assert not note.exists()
        token = (tmp_path / "state" / "token").read_text()
        server.start()
        assert (tmp_path / "state" / "token").read_text() == token
        assert token.strip() not in (tmp_path / "serve.log").read_text()
        assert server.end(signal.SIGHUP) == 0
        server.start("--no-token")
        assert httpx.get(f"{server.url}/v1/jobs").status_code == 200
        assert server.end(signal.SIGTERM) == 0
    finally:
        os.umask(before)
