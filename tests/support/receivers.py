"""An HTTP server that takes notifications, and answers as tests want."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Locations that are no URLs, or that some libraries take for none.
UNREADABLE = [
    *("http://[::1", "http://h:99999/", "http://h:x/", "http://a\x01b/", "?\x7f", "\xff\xfe"),
    *("javascript:1", "mailto:a@b", "http://xn--a/", "http://xn--/", "http://" + "a" * 70, "//"),
    *("http://a..b/", "http://[v1.x]/", "http://h\xad/", "x" * 60_000, ""),
]


class Receiver(ThreadingHTTPServer):
    """What has come: bodies and headers, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 204  # of the answers
        self.location = "/elsewhere"  # where redirects lead
        self.silent = threading.Event()  # no answer comes until it is set, if `waits`
        self.waits = False
        self.came: list[tuple[bytes, dict[str, str]]] = []

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_port}/hook?key=secret"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What has come."""
        return [json.loads(body) for body, _ in self.came]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((body, dict(self.headers)))
        if self.server.waits:
            self.server.silent.wait(60)
        self.send_response(self.server.status)
        if 300 <= self.server.status < 400:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.came.append((b'"followed"', {}))
        self.send_response(self.server.status)
        if 300 <= self.server.status < 400:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver within the block."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.silent.set()
        server.shutdown()
        server.server_close()
