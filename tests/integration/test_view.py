"""`stn-cluster view`, as a process: read-only, without Ray, and PyTorch only when it draws."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.graded_stores import commit, drawn
from support.reported_stores import commit_digits, digits_cells

from stn_cluster.store import Store

ROOT = Path(__file__).parents[2]
HEAVY = {"ray", "torch", "torchvision", "matplotlib"}


@dataclass
class View:
    """A page that is served."""

    process: subprocess.Popen[str]
    http: httpx.Client
    trace: Path  # what it has imported

    def loaded(self) -> set[str]:
        found = re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", self.trace.read_text(), re.M)
        return {name.partition(".")[0] for name in found}


@pytest.fixture
def viewed(store_folder: Path, tmp_path: Path) -> Iterator[View]:
    yield from view(store_folder, tmp_path)


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "store", create=True)
    commit_digits(store, digits_cells("CNN")[:1])
    return tmp_path / "store"


def view(store: Path, folder: Path) -> Iterator[View]:
    trace = folder / "trace"
    command = [sys.executable, "-X", "importtime", "-m", "stn_cluster.cli", "view", str(store)]
    with trace.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    url, token = process.stdout.readline().strip().split("/#t=")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        yield View(process, http, trace)
    process.kill()
    process.wait()


def files(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_store_is_read_and_followed_and_never_written(viewed: View, store_folder: Path) -> None:
    before = files(store_folder)
    first = viewed.http.get("/v1/matrix")
    assert first.json()["total"] == 1
    key = digits_cells("CNN")[0].key
    for path in ("", "/curve", "/confusion", "/predictions"):
        assert viewed.http.get(f"/v1/cells/{key}{path}").status_code == 200
    assert not viewed.loaded() & HEAVY
    sheet = viewed.http.get(f"/v1/cells/{key}/images.png?index=0")
    assert sheet.content.startswith(b"\x89PNG")
    assert "torch" not in viewed.loaded()  # its own process has it
    assert files(store_folder) == before
    commit(Store.open(store_folder), drawn({("CNN", "none"): 0.1}, dataset="letters"))
    tag = {"If-None-Match": first.headers["etag"]}
    assert viewed.http.get("/v1/matrix", headers=tag).json()["total"] == 3


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)]
)
def test_it_ends_with_a_signal_and_so_does_what_draws(
    viewed: View, sign: signal.Signals, code: int
) -> None:
    key = digits_cells("CNN")[0].key
    viewed.http.get(f"/v1/cells/{key}/images.png?index=0")
    children = Path(f"/proc/{viewed.process.pid}/task/{viewed.process.pid}/children")
    drawing = [int(pid) for pid in children.read_text().split()]
    viewed.process.send_signal(sign)
    assert viewed.process.wait(30) == code
    assert not any(Path(f"/proc/{pid}").exists() for pid in drawing)


def test_a_published_store_is_viewed_as_it_is(tmp_path: Path) -> None:
    for viewed in view(ROOT / "results" / "mnist-v1", tmp_path):
        matrices = viewed.http.get("/v1/matrix").json()["matrices"]
        assert [len(matrix["rows"]) for matrix in matrices] == [8]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no result store here"),
        (["nowhere", "--host", "0.0.0.0", "--no-token"], "--no-token: others could reach 0.0.0.0"),
        (["nowhere", "--port", "70000"], "less than or equal to 65535"),
    ],
)
def test_what_cannot_be_viewed_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "stn_cluster.cli", "view", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_has_a_page_as_long_as_it_runs(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(
        "recipe: {name: smoke, iterations: 100000}\nmodels: [FCN]\ndistortions: [E]\n"
    )
    command = [sys.executable, "-m", "stn_cluster.cli", "run", "long.yaml", "--store", "store"]
    with (tmp_path / "errors").open("w") as errors:
        run = subprocess.Popen([*command, "--page"], stderr=errors, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (found := re.search(r"page: (\S+)/#t=(\S+)", (tmp_path / "errors").read_text())):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    url, token = found.groups()
    assert httpx.get(f"{url}/v1/page").status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        page = http.get("/v1/page").json()
        assert (page["mode"], page["read_only"]) == ("run", True)
        [job] = http.get("/v1/jobs").json()
        assert page["job"] == job["job_id"]
        [matrix] = http.get(f"/v1/matrix?job={page['job']}").json()["matrices"]
        [entry] = matrix["rows"][0]["entries"]
        assert sum(entry["counts"].get(state, 0) for state in ("queued", "running")) == 1
        assert http.post(f"/v1/jobs/{page['job']}/cancel", json={}).status_code in (404, 405)
        assert http.put("/v1/jobs/mine", json={"config": {}}).status_code in (404, 405)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/v1/health")
