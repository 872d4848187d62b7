"""Small files in MNIST's place, and a server that sends them, well or badly."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from stn_cluster.data.mnist_files import FILES, IdxFile

LENGTHS = {"train": 30, "t10k": 20}  # images


def small_mnist() -> tuple[dict[str, bytes], tuple[IdxFile, ...]]:
    """Contents by name, and the files whose digests are theirs."""
    draws = np.random.default_rng(0)
    contents, files = {}, []
    for file in FILES:
        shape = (LENGTHS[file.name.partition("-")[0]], *file.shape[1:])
        header = IdxFile(file.name, shape, "").header
        values = draws.integers(0, 10, shape, np.uint8).tobytes()
        contents[file.name] = header + values
        digest = hashlib.sha256(contents[file.name]).hexdigest()
        files.append(IdxFile(file.name, shape, digest))
    return contents, tuple(files)


def write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


Respond = Callable[[BaseHTTPRequestHandler, bytes], None]


def well(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Sends the whole file."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(packed)))
    request.end_headers()
    request.wfile.write(packed)


def stalled(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Sends half of the file, and then nothing more."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(packed)))
    request.end_headers()
    request.wfile.write(packed[: len(packed) // 2])
    request.wfile.flush()
    time.sleep(5)


def silent(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Does not answer."""
    time.sleep(5)


def torn(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Sends half of the file as if it were all."""
    well(request, packed[: len(packed) // 2])


def another_page(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Sends a page, as a proxy does that wants a login."""
    well(request, b"<html>Who are you?</html>")


def absent(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Has no such file."""
    request.send_error(404)


def misled(request: BaseHTTPRequestHandler, packed: bytes) -> None:
    """Sends elsewhere, but to no URL."""
    request.send_response(302)
    request.send_header("Location", "javascript:1")
    request.end_headers()


@contextmanager
def mirror(contents: dict[str, bytes], respond: Respond = well) -> Iterator[str]:
    """Address of a server of these files."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2].removesuffix(".gz")
            respond(self, gzip.compress(contents[name]))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mnist/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
