"""A server that is not ours, and what it can do to a terminal: nothing."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from stn_cluster import Client, __version__
from stn_cluster.cli import app
from stn_cluster.client.responses import parsed
from stn_cluster.errors import ServiceError, UserError
from stn_cluster.plain_text import may_act, plain_values
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus

ACTS = "\x1b]0;owned\x07\x1b[2J\u202eevil\x9b1m\r"
CONTROLS = ("\x1b", "\x07", "\x9b", "\u202e", "\r")
KEY = "0123456789abcdef"


def status() -> dict[str, Any]:
    """A job whose every text acts."""
    texts = dict.fromkeys(("model", "transform", "distortion", "dataset", "recipe"), ACTS)
    name = CellName(key=KEY, seed=0, iterations=5, **texts)
    cell = CellStatus(name, CellState.FAILED, 1, None, error=ACTS)
    job = JobStatus(ACTS, CellState.FAILED, {CellState.FAILED: 1}, cells=(cell,))
    job = dataclasses.replace(job, waiting=(ACTS,), left_out=ACTS)
    found: dict[str, Any] = TypeAdapter(JobStatus).dump_python(job, mode="json")
    return found


class _Hostile(BaseHTTPRequestHandler):
    error = False

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kind, body = "application/json", json.dumps(status())
        if self.error:
            body = json.dumps({"error": {"code": "x", "message": ACTS, "field": ACTS}})
        elif path.endswith("/jobs"):
            body = json.dumps([status()])
        elif path.endswith("/cells"):
            body = json.dumps({"cells": status()["cells"], "next_offset": None})
        elif path.endswith("/events"):
            kind, body = "text/event-stream", f"event: job\nid: 1\ndata: {body}\n\n"
        elif "/table" in path or "/logs/" in path:
            kind, body = "text/plain; charset=utf-8", ACTS
        elif path.endswith("/results"):
            body = "PAR1"
        self.send_response(422 if self.error else 200)
        self.send_header("stn-cluster-version", __version__)
        self.send_header("stn-cluster-outdated", json.dumps([ACTS]))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("STN_CLUSTER_TOKEN", "a-token-of-some-length")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


COMMANDS = [
    ["jobs"],
    ["status", "j"],
    ["watch", "j"],
    ["cancel", "j"],
    ["table"],
    ["table", "--format=csv"],
    ["rerun", "--model=FCN"],
    ["evaluate", "--on=R"],
]


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_that_it_says_acts_on_a_terminal(
    url: str, command: list[str], error: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Hostile, "error", error)
    done = CliRunner().invoke(app, [*command, f"--server={url}"])
    if error:
        assert isinstance(done.exception, UserError)
        return  # one line is made of it by whoever prints it: see test_main
    assert "evil" in done.output
    assert [one for one in CONTROLS if one in done.output + done.stderr] == []


def test_an_error_of_it_is_harmless(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Hostile, "error", True)
    with Client(url) as client, pytest.raises(UserError) as caught:
        client.jobs()
    assert [one for one in CONTROLS if one in str(caught.value)] == []


def test_rows_that_are_none_are_an_error_in_words(url: str) -> None:
    with Client(url) as client, pytest.raises(ServiceError, match="rows cannot be read"):
        client.results()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\ufeff[]", '["\\ud800"', "\x00"])
def test_what_is_no_json_is_an_error_in_words(text: str) -> None:
    with pytest.raises(ServiceError, match="not a response of stn-cluster"):
        parsed(list[str], text)


@pytest.mark.parametrize("text", [*ACTS, "a\x00", "\u200f", "\ufeff", "\ud800"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_what_acts_is_found_escaped_or_not(text: str, ascii_only: bool) -> None:
    if text.isascii() and text.isprintable():
        return
    encoded = json.dumps([text], ensure_ascii=ascii_only)
    assert may_act(encoded)
    assert may_act(encoded.upper().replace("\\U", "\\u"))
    assert json.dumps(plain_values([text]), ensure_ascii=False) != encoded


def test_plain_text_is_left_alone() -> None:
    text = "lines\n\tof \u00e9 and \u4e2d, C:\\rows"
    assert parsed(list[str], json.dumps([text])) == [text]
    assert parsed(list[str], json.dumps([text, "\x1b"]))[0] == text
