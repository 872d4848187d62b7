"""The download of MNIST: its words, its limits of time, and nothing half-written, ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import mnist as servers
from support.mnist import Respond, mirror, small_mnist, write

from stn_cluster.data import mnist as module
from stn_cluster.data import mnist_download, mnist_files
from stn_cluster.data.mnist import mnist, prepare
from stn_cluster.data.mnist_files import FILES
from stn_cluster.errors import UserError

NAMES = [file.name for file in FILES]


@pytest.fixture(autouse=True)
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Contents of small files that stand for MNIST's; and no proxy, and little patience."""
    contents, files = small_mnist()
    for place in (module, mnist_files):
        monkeypatch.setattr(place, "FILES", files)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(mnist_download, "TIMEOUT", httpx.Timeout(0.5))
    return contents


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Addresses that are tried, which a test fills."""
    found: list[str] = []
    monkeypatch.setattr(mnist_download, "MIRRORS", found)
    return found


def files_under(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepare(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_files_are_downloaded_and_it_is_said_from_where_and_whereto(
    tmp_path: Path,
    contents: dict[str, bytes],
    mirrors: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "MNIST" / "raw", {NAMES[0]: contents[NAMES[0]]})
    with mirror(contents) as url:
        mirrors.append(url)
        data = mnist(tmp_path)
    assert data.test_images.numpy().tobytes() == contents[NAMES[2]][16:]
    assert files_under(tmp_path) == sorted(NAMES)
    folder = tmp_path / "MNIST" / "raw"
    assert all((folder / name).read_bytes() == contents[name] for name in NAMES)
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"MNIST: downloading 3 files to {folder}, from 127.0.0.1"
    assert last == f"MNIST: downloaded to {folder}"
    prepare(tmp_path)  # nothing is downloaded again, as the server has ended
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (servers.silent, "no answer for 0.5 s"),
        (servers.stalled, "no answer for 0.5 s"),
        (servers.torn, "is not a whole gzip file"),
        (servers.another_page, "has 25 bytes, MNIST's has"),
        (servers.absent, "HTTP 404"),
    ],
)
def test_a_server_that_fails_is_named_within_its_time_and_leaves_nothing(
    tmp_path: Path,
    contents: dict[str, bytes],
    mirrors: list[str],
    respond: Respond,
    reason: str,
) -> None:
    with mirror(contents, respond) as url:
        mirrors.append(url)
        line = refusal(tmp_path)
    assert f"{url}{NAMES[0]}.gz: {reason}" in line
    assert "`dataset: digits`" in line
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    ("respond", "reason"), [(servers.absent, "HTTP 404"), (servers.misled, "For absolute URLs")]
)
def test_the_other_mirror_is_tried_and_that_is_said(
    tmp_path: Path,
    contents: dict[str, bytes],
    mirrors: list[str],
    capsys: pytest.CaptureFixture[str],
    respond: Respond,
    reason: str,
) -> None:
    with mirror(contents, respond) as bad, mirror(contents) as good:
        mirrors += [bad, good]
        prepare(tmp_path)
    said = next(line for line in capsys.readouterr().err.splitlines() if "trying" in line)
    assert said.startswith(f"MNIST: {bad}{NAMES[0]}.gz: {reason}")
    assert said.endswith("; trying 127.0.0.1")


def test_a_proxy_that_never_answers_is_named_without_its_password(
    tmp_path: Path, contents: dict[str, bytes], mirrors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mirror(contents, servers.silent) as proxy:
        address = proxy.removeprefix("http://").partition("/")[0]
        monkeypatch.setenv("all_proxy", f"http://me:secret@{address}")
        mirrors.append("http://mirror.invalid/mnist/")
        line = refusal(tmp_path)
    assert f"through the proxy {address}, see all_proxy" in line
    assert "secret" not in line


def test_a_proxy_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, mirrors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "gopher://127.0.0.1:1")
    mirrors.append("http://mirror.invalid/mnist/")
    assert "gopher" in refusal(tmp_path)


def test_a_trickle_ends_with_the_limit_for_all_files(
    tmp_path: Path,
    contents: dict[str, bytes],
    mirrors: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def trickle(request: servers.BaseHTTPRequestHandler, packed: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(packed)))
        request.end_headers()
        try:
            for number in range(len(packed)):
                request.wfile.write(packed[number : number + 1])
                request.wfile.flush()
                time.sleep(0.005)
        except OSError:  # the client has left
            pass

    monkeypatch.setattr(mnist_download, "TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(mnist_download, "PROGRESS_SECONDS", 0.0)
    with mirror(contents, trickle) as url:
        mirrors.append(url)
        assert "not all of it within 1 s" in refusal(tmp_path)
    assert f"MNIST: {NAMES[0]}.gz: 0.0 of 0." in capsys.readouterr().err
    assert files_under(tmp_path) == []


def test_a_file_that_cannot_be_written_is_told_and_leaves_no_draft(
    tmp_path: Path, contents: dict[str, bytes], mirrors: list[str]
) -> None:
    (tmp_path / "MNIST" / "raw" / NAMES[0]).mkdir(parents=True)  # where the file would be
    with mirror(contents) as url:
        mirrors.append(url)
        assert f"{NAMES[0]}: cannot be written: " in refusal(tmp_path)
    assert files_under(tmp_path) == []


def test_two_may_download_at_once(
    tmp_path: Path, contents: dict[str, bytes], mirrors: list[str]
) -> None:
    failures: list[Exception] = []

    def load() -> None:
        try:
            mnist(tmp_path)
        except Exception as error:
            failures.append(error)

    with mirror(contents) as url:
        mirrors.append(url)
        both = [threading.Thread(target=load) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
    assert failures == []
    assert files_under(tmp_path) == sorted(NAMES)
