"""Download of MNIST's files: with a word on what it does, within limits of time, all or nothing."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx

from stn_cluster.data.mnist_files import IdxFile, contents_of
from stn_cluster.errors import UserError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT = httpx.Timeout(20.0, connect=10.0)  # seconds to connect, and without a byte
TOTAL_SECONDS = 600.0  # for all files
PROGRESS_SECONDS = 5.0  # time between two lines of progress
MEGABYTE = 1e6


class DownloadError(Exception):
    """A file cannot be downloaded; the message is a line that names the address."""


def download(files: list[IdxFile], folder: Path) -> dict[str, bytearray]:
    """Downloads files and writes them into a folder, each whole or not at all.

    It says on stderr what it does. Several processes may do it at once: each writes the same.

    Returns:
        Uncompressed contents by name.

    Raises:
        DownloadError: no mirror has sent a file within the limits of time.
        UserError: the folder cannot be written to.
    """
    _check_writable(folder)
    hosts = " or ".join(httpx.URL(mirror).host for mirror in MIRRORS)
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    _say(f"MNIST: downloading {count} to {folder}, from {hosts}{_proxy()}")
    try:
        # Not the client's own retries: the other mirror is tried instead.
        with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
            deadline = time.monotonic() + TOTAL_SECONDS
            contents = {file.name: _from_any_mirror(client, file, deadline) for file in files}
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        # A proxy or certificates that the environment names and httpx cannot use.
        raise DownloadError(f"{error}{_proxy()}") from error
    for name, content in contents.items():
        _write(folder / name, content)
    _say(f"MNIST: downloaded to {folder}")
    return contents


def _from_any_mirror(client: httpx.Client, file: IdxFile, deadline: float) -> bytearray:
    failures: list[str] = []
    for mirror in MIRRORS:
        if failures:
            _say(f"MNIST: {failures[-1]}; trying {httpx.URL(mirror).host}")
        url = f"{mirror}{file.name}.gz"
        try:
            return contents_of(file, _fetch(client, url, deadline))
        except httpx.HTTPStatusError as error:
            failures.append(f"{url}: HTTP {error.response.status_code}")
        except httpx.HTTPError as error:
            failures.append(f"{url}: {_reason(error)}{_proxy()}")
        except (ValueError, httpx.InvalidURL) as error:  # a page of a proxy, a redirect to no URL
            failures.append(f"{url}: {error}")
    raise DownloadError("; ".join(failures))


def _fetch(client: httpx.Client, url: str, deadline: float) -> bytes:
    """Body of a response, with a line of progress from time to time."""
    received = bytearray()
    said = time.monotonic()
    with client.stream("GET", url) as response:
        response.raise_for_status()
        size = int(response.headers.get("content-length", 0)) / MEGABYTE
        # Raw: a server that calls the file's own compression an encoding must not undo it.
        for chunk in response.iter_raw():
            received += chunk
            now = time.monotonic()
            if now > deadline:
                raise httpx.ReadTimeout(f"not all of it within {TOTAL_SECONDS:g} s")
            if now - said > PROGRESS_SECONDS:
                said = now
                of = f" of {size:.1f}" if size else ""
                name = url.rpartition("/")[2]
                _say(f"MNIST: {name}: {len(received) / MEGABYTE:.1f}{of} MB")
    return bytes(received)


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {TIMEOUT.connect:g} s"
    if isinstance(error, httpx.TimeoutException):
        return str(error) if "within" in str(error) else f"no answer for {TIMEOUT.read:g} s"
    return str(error) or type(error).__name__


def _proxy() -> str:
    """The proxy that the environment names, without its password, for a message."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        if value := os.environ.get(name):
            return f" (through the proxy {value.rpartition('@')[2]}, see {name})"
    return ""


def _check_writable(folder: Path) -> None:
    """Raises UserError if a file could not be written; makes nothing yet."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise UserError(f"{there}: is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: cannot be written to")


def _write(path: Path, content: bytearray) -> None:
    """Makes or replaces a file atomically.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as draft:
            try:
                draft.write(content)
                draft.flush()
                os.fchmod(draft.fileno(), 0o644)  # a temporary file is its owner's alone
                Path(draft.name).replace(path)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
