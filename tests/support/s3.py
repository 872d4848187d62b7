"""An in-memory S3 server on this machine, for the tests of object stores."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from pyarrow.fs import S3FileSystem
from werkzeug.serving import WSGIRequestHandler, make_server

USER, SECRET, REGION, BUCKET = "someone", "swordfish", "us-east-1", "bucket"


class S3Server:
    """Server with one bucket, which anyone may read and write by default."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._refuses: Callable[[str], bool] | None = None
        self.requests: list[str] = []  # as in 'PUT /bucket/name'
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=_Quiet)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.filesystem = S3FileSystem(
            access_key=USER,
            secret_key=SECRET,
            endpoint_override=self.url,
            region=REGION,
            allow_bucket_creation=True,
        )
        self.filesystem.create_dir(BUCKET)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which s3://bucket/name is enough to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
        }

    def uri(self, name: str, bucket: str = BUCKET) -> str:
        """URI with credentials, server and region."""
        query = f"endpoint_override={self.url}&region={REGION}"
        return f"s3://{USER}:{SECRET}@{bucket}/{name}?{query}"

    @contextmanager
    def refusing(self, which: Callable[[str], bool]) -> Iterator[None]:
        """Makes it refuse some requests as too busy, such as 'PUT /bucket/name'."""
        self._refuses = which
        try:
            yield
        finally:
            self._refuses = None

    @contextmanager
    def checking_credentials(self) -> Iterator[None]:
        """Makes it refuse all credentials."""
        self._let_in("0")
        try:
            yield
        finally:
            self._let_in("inf")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _let_in(self, requests: str) -> None:
        """Moto checks the credentials of all requests after the first so many."""
        asked = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(asked, timeout=10).close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.requests.append(request)
        if self._refuses and self._refuses(request):
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Too busy.</Message></Error>"]
        return self._app(environ, start_response)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as a real one keeps them

    def log_request(self, *_: object) -> None:
        pass
