"""Patience: whoever waits for a server is told so after a moment, once."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from stn_cluster.client import http_client, patience
from stn_cluster.client.http_client import Client
from stn_cluster.errors import ServiceError


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(http_client, "RETRY_SECONDS", 0.05)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("call", ["jobs", "watch"])
def test_a_client_without_a_server_says_once_what_it_waits_for(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with Client(url, patience=1.0) as client, pytest.raises(ServiceError):
        client.jobs() if call == "jobs" else next(client.watch("job"))
    [told] = [record for record in caplog.records if record.name == patience.__name__]
    assert told.levelno == logging.WARNING
    assert told.message.startswith(f"{url}: no server answers: ")
    assert told.message.endswith("; waiting for it, at most 1 s")


def test_it_says_so_also_while_it_still_waits_for_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def never_answer() -> None:
            connection, _ = server.accept()
            with connection:
                while not caplog.messages:
                    time.sleep(0.02)
            server.close()

        thread = threading.Thread(target=never_answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url, patience=0.1) as client, pytest.raises(ServiceError):
            client.jobs()
        thread.join()
    assert caplog.messages == [f"{url}: no answer yet; waiting for it, at most 0.1 s"]


def test_nothing_is_said_where_the_answer_comes_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with patience.Patience("http://here", 60.0):
        pass
    with patience.Patience("http://here", 60.0) as wait:
        wait.over()
        time.sleep(0.3)
    assert caplog.messages == []
