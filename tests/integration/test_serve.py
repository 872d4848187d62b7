"""`stn-cluster serve` in real processes: killed, asked by many at once, asked by a laptop."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.commands import COMMAND
from support.laptop import make_laptop
from support.processes import actors
from support.ray_head import Head, free_ports, ray_head
from support.receivers import Receiver, receiver
from support.servers import PATIENCE, SECRET, TOKEN, Server
from support.services import wait_until

from stn_cluster import UserError, __version__, load_results
from stn_cluster.client.http_client import Client
from stn_cluster.errors import ConflictError, NotFoundError, ServiceError
from stn_cluster.queue.jobs import CellState
from stn_cluster.server.notify_url import signature
from stn_cluster.store import Store

CONFIGS = Path(__file__).parents[2] / "configs"
QUICK: dict[str, Any] = {"recipe": "smoke", "models": ["FCN"], "distortions": ["E"]}
CLIENTS, SUBMISSIONS = 50, 200


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as head:
        yield head


@pytest.fixture(scope="module")
def told() -> Iterator[Receiver]:
    """What is told of all jobs."""
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def server(
    head: Head, told: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    options = (f"--notify={told.url}", f"--exec=tee -a {folder / 'told'}")
    server = Server(head, folder, *free_ports(1), options)
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0
    assert [said["message"] for said in server.log][-1] == "stopped"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_laptop(tmp_path_factory.mktemp("laptop") / "site")


def on_laptop(laptop: dict[str, str], server: Server, *arguments: str) -> str:
    """Standard output of a Python on a laptop."""
    known = {"STN_CLUSTER_SERVER": server.url, "STN_CLUSTER_TOKEN": TOKEN, "HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={"PATH": os.environ["PATH"], **laptop, **known},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the laptop ---


def test_a_laptop_has_neither_ray_nor_torch(laptop: dict[str, str], server: Server) -> None:
    code = (
        "from importlib.util import find_spec as find\n"
        "print([m for m in ('ray', 'torch', 'torchvision', 'sklearn', 'fastapi') if find(m)])"
    )
    assert on_laptop(laptop, server, "-c", code) == "[]\n"


def test_a_laptop_submits_watches_and_reads_results(laptop: dict[str, str], server: Server) -> None:
    command = ("-m", "stn_cluster.cli")
    config = str(CONFIGS / "smoke.yaml")
    few = ("--set", "models=[FCN, CNN]", "--set", "distortions=[R]")
    table = on_laptop(laptop, server, *command, "submit", config, *few, "--job-id=lap", "--watch")
    assert "FCN" in table
    assert "CNN" in table
    assert table == on_laptop(laptop, server, *command, "watch", "lap")
    assert "2 of 2 cells done" in on_laptop(laptop, server, *command, "status", "lap")
    assert "lap" in on_laptop(laptop, server, *command, "jobs")
    assert "trained and tested" in on_laptop(laptop, server, *command, "logs", "CNN/none/R/seed0")
    rows = json.loads(on_laptop(laptop, server, *command, "results", "--format=json"))
    assert [row["label"] for row in rows] == ["FCN/none/R/seed0", "CNN/none/R/seed0"]
    job = on_laptop(laptop, server, *command, "rerun", "--model=CNN").strip()
    on_laptop(laptop, server, *command, "watch", job)
    code = (
        "from stn_cluster import Client\n"
        "with Client() as client:\n"
        "    rows, attempts = client.results(model='CNN'), client.attempts('CNN/none/R/seed0')\n"
        "print(rows['job_id'].tolist(), rows['iterations'].dtype, len(attempts))"
    )
    assert on_laptop(laptop, server, "-c", code) == f"['{job}'] Int64 2\n"


def test_a_laptop_asks_for_evaluations(laptop: dict[str, str], server: Server) -> None:
    command = ("-m", "stn_cluster.cli")
    config = str(CONFIGS / "smoke.yaml")
    few = ("--set", "models=[FCN]", "--set", "distortions=[R]")
    few += ("--set", "evaluate={on: [R]}")
    table = on_laptop(laptop, server, *command, "submit", config, *few, "--job-id=one", "--watch")
    assert "trained on  R" in table  # below the cells' own table
    assert "paper" in table.partition("trained on")[0]
    asked = ("--model=FCN", "--distortion=R", "--on=clean,E", "--severity=2")
    job = on_laptop(laptop, server, *command, "evaluate", *asked).strip()
    table = on_laptop(laptop, server, *command, "watch", job)
    assert "trained on  clean  E@2" in table
    assert "2 of 2 evaluations done" in on_laptop(laptop, server, *command, "status", job)
    curves = on_laptop(laptop, server, *command, "robustness", "--model=FCN")
    assert "tested on E, by severity" in curves
    code = (
        "from stn_cluster import Client\n"
        "with Client() as client:\n"
        "    job = client.evaluate(on='E', severity=2, model='FCN', distortion='R').job_id\n"
        "    [*_, last] = client.watch(job)\n"
        "    rows, table = client.evaluations(on='E'), client.transfer(on='clean')\n"
        "print(last.state.value, last.cells[0].stored, rows['severity'].tolist(), 'FCN' in table)"
    )
    assert on_laptop(laptop, server, "-c", code) == "succeeded True [2.0] True\n"


def test_what_needs_the_cluster_says_how_to_get_it(laptop: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stn_cluster.cli", "run", str(CONFIGS / "smoke.yaml")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **laptop},
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("stn-cluster: this needs ")
    assert line.endswith("install the extra cluster: pip install '.[cluster]'")


# --- the client in Python ---


def test_results_are_those_of_the_store(client: Client, server: Server) -> None:
    job = client.submit({**QUICK, "seeds": [1, 2]})
    *_, last = client.watch(job.job_id)
    assert last.counts == {CellState.SUCCEEDED: 2}
    found = client.results(seed=[1, 2])
    wanted = load_results(server.store, seed=[1, 2])
    assert found.drop(columns="confusion").equals(wanted.drop(columns="confusion"))
    assert client.results(model="VGG").empty


def test_what_the_server_refuses_is_an_error_with_its_field(client: Client, server: Server) -> None:
    with pytest.raises(UserError, match="config: unknown model 'FNC'") as error:
        client.submit({**QUICK, "models": ["FNC"]})
    assert error.value.field == "config.models"
    with pytest.raises(NotFoundError, match="unknown job 'nope'"):
        client.status("nope")
    client.submit({**QUICK, "seeds": [3]}, job_id="taken")
    with pytest.raises(ConflictError, match="taken"):
        client.submit({**QUICK, "seeds": [4]}, job_id="taken")
    with pytest.raises(UserError, match="token is missing or wrong: set STN_CLUSTER_TOKEN"):
        Client(server.url, "x" * 20).jobs()
    [port] = free_ports(1)
    with pytest.raises(ServiceError, match="no server answers"):
        Client(f"http://127.0.0.1:{port}", TOKEN, patience=0.1).jobs()


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("head:8267", None, "a URL is needed, as in http://head:8267"),
        ("http://head:abc", None, "server 'http://head:abc': Invalid port"),
        ("http://me:secret@head", None, "no name and password in the URL"),
        (
            "http://head",
            "sekrit\nsekrit",
            "STN_CLUSTER_TOKEN: ASCII letters, digits and signs only",
        ),
        ("http://head", "sekr\u00eft", "STN_CLUSTER_TOKEN: ASCII letters, digits and signs only"),
    ],
)
def test_what_cannot_be_a_server_or_a_token_is_refused_at_once(
    url: str, token: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as error:
        Client(url, token)
    assert "sekr" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_token_may_end_in_a_line_break_as_files_do(server: Server) -> None:
    with Client(server.url, f"{TOKEN}\n") as client:
        assert client.service().version == __version__


def test_another_web_server_is_no_service(tmp_path: Path) -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "http.server", str(port), "--bind=127.0.0.1"]
    other = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        with Client(f"http://127.0.0.1:{port}", patience=10) as client:
            with pytest.raises(UserError, match="not stn-cluster"):
                client.jobs()
            with pytest.raises(UserError, match="not stn-cluster"):
                next(client.watch("job"))
    finally:
        other.terminate()
        other.wait()


def test_a_server_that_finds_a_coordinator_with_other_settings_says_so(server: Server) -> None:
    server.end(signal.SIGKILL)
    again = subprocess.run(
        server.command("--threads-per-worker=2", "--port=0"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=server.environment,
    )
    server.start()
    assert again.returncode == 2
    assert "with threads_per_worker 1 and not 2" in again.stderr.splitlines()[-1]


def test_a_command_names_the_file_that_is_wrong(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("recipe: smoke\nmodels: [FNC]\n")
    told = subprocess.run(
        [COMMAND, "submit", config, "--server", server.url],
        capture_output=True,
        text=True,
        env=server.environment,
    )
    assert told.returncode == 2
    assert told.stderr.startswith(f"stn-cluster: {config}: unknown model 'FNC': did you mean 'FCN'")


# --- who else might serve ---


def test_a_second_server_is_refused(server: Server) -> None:
    for state, said in ((server.folder / "state", "holds this state folder"), (None, "is served")):
        other = str(state or server.folder / "other")
        again = subprocess.run(
            [*server.command(f"--state={other}", "--port=0")],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=server.environment,
        )
        assert again.returncode == 2, again.stderr
        assert said in again.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        (["--host=0.0.0.0"], None, "needs a token: set STN_CLUSTER_TOKEN"),
        (["--host=0.0.0.0"], "short", "at least 16 characters"),
        (["--host=256.0.0.1"], TOKEN, "cannot listen on 256.0.0.1"),
        (["--address=127.0.0.1:1"], None, "no Ray cluster"),
        (["--address=local"], None, "HOST:PORT of the cluster's head, or auto"),
        (["--address=ray://127.0.0.1:10001"], None, "HOST:PORT of the cluster's head, or auto"),
        (["--plugins=no_such_module"], None, "does not import"),
        (["--notify=example.org"], None, "--notify: an http or https URL"),
        (["--exec=no-such-program"], None, "--exec: there is no program 'no-such-program'"),
        (["--threads-per-worker=0"], None, "threads per worker: at least 1, not 0"),
        ([], "t\u00f6ken-of-some-length", "ASCII letters"),
    ],
)
def test_a_server_that_cannot_serve_says_so_in_one_line(
    head: Head, tmp_path: Path, arguments: list[str], token: str | None, said: str
) -> None:
    environment = {**os.environ, **head.environment}
    environment.pop("STN_CLUSTER_TOKEN", None)
    places = [f"--store={tmp_path / 'store'}", f"--state={tmp_path / 'state'}", "--port=0"]
    told = subprocess.run(
        [COMMAND, "serve", *places, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment | ({"STN_CLUSTER_TOKEN": token} if token else {}),
    )
    assert told.returncode == 2, told.stderr
    assert said in told.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# --- killed ---


def test_a_watch_survives_the_servers_death_and_nothing_is_done_twice(server: Server) -> None:
    seeds = list(range(500, 524))
    config = {**QUICK, "recipe": {"name": "smoke", "iterations": 150}, "seeds": seeds}
    with Client(server.url, TOKEN) as client:
        client.submit(config, job_id="survives")
    watching = subprocess.Popen(
        [COMMAND, "watch", "survives", "--server", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=server.environment,
    )
    with Client(server.url, TOKEN) as client:
        while client.status("survives").counts.get(CellState.SUCCEEDED, 0) < 4:
            time.sleep(0.1)
    server.end(signal.SIGKILL)
    time.sleep(2)
    server.start()
    out, said = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0, said
    assert "FCN" in out
    assert "no server answers" in said
    told = [line for line in said.splitlines() if ": test error" in line]
    assert len(told) == len(set(told)) == len(seeds)
    rows = Store.open(server.store).results(latest=False)
    assert sorted(rows[rows["job_id"] == "survives"]["seed"]) == seeds


def test_what_ended_without_a_server_is_told_by_the_next_one(
    server: Server, told: Receiver
) -> None:
    def about(bodies: list[dict[str, Any]], job_id: str) -> list[dict[str, Any]]:
        return [b for b in bodies if b["event"] == "job_ended" and b["job"]["job_id"] == job_id]

    with Client(server.url, TOKEN) as client:
        told.status = 503
        client.submit({**QUICK, "seeds": [700]}, job_id="untold")
        for _ in client.watch("untold"):
            pass
    wait_until(lambda: bool(about(told.bodies, "untold")), PATIENCE)
    server.end(signal.SIGKILL)
    told.came.clear()
    told.status = 200
    server.start()
    wait_until(lambda: bool(about(told.bodies, "untold")), PATIENCE)
    [ended] = about(told.bodies, "untold")
    assert (ended["job"]["state"], ended["job"]["counts"]) == ("succeeded", {"succeeded": 1})
    assert ended["link"] == f"{server.url}/#/matrix?job=untold"
    for body, headers in told.came:
        assert headers["X-Signature"] == signature(SECRET, body)
    said = (server.folder / "told").read_text().replace("}{", "}\n{").splitlines()
    assert ended["id"] in {body["id"] for body in about(list(map(json.loads, said)), "untold")}


def test_many_clients_at_once_and_nothing_accepted_is_lost(server: Server) -> None:
    """50 clients, 200 submissions; then server and coordinator are killed."""
    accepted: list[str] = []
    waits: list[float] = []

    def busy(number: int) -> None:
        with Client(server.url, TOKEN) as client:
            for turn in range(SUBMISSIONS // CLIENTS):
                seed = 10_000 + number * 100 + turn
                status = client.submit(
                    {**QUICK, "seeds": [seed], "needs": {"resources": {"absent": 1}}},
                    job_id=f"many-{seed}",
                )
                accepted.append(status.job_id)
                began = time.perf_counter()
                client.status(status.job_id)
                waits.append(time.perf_counter() - began)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(busy, range(CLIENTS)))
    print(f"p95 of status under load: {statistics.quantiles(waits, n=20)[-1]:.3f} s")
    assert len(set(accepted)) == SUBMISSIONS
    [coordinator] = actors("Coordinator")
    os.kill(coordinator, signal.SIGKILL)
    server.end(signal.SIGKILL)
    server.start()
    with Client(server.url, TOKEN) as client:
        there = {job.job_id for job in client.jobs()}
        assert set(accepted) <= there
        [waiting] = client.status(accepted[0]).waiting
        assert "wait for a node with 1 CPU, 1 absent" in waiting.replace("waits", "wait")
        for job_id in accepted:
            client.cancel(job_id)


def test_its_log_is_json_and_keeps_the_token_to_itself(server: Server) -> None:
    requests = [said for said in server.log if said["message"] == "request"]
    assert {"method", "path", "status", "milliseconds", "client", "time"} <= set(requests[0])
    assert TOKEN not in (server.folder / "serve.log").read_text()


def test_another_version_is_refused_on_either_side(client: Client) -> None:
    from stn_cluster.client import responses as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "__version__", "0.0.1")
        with pytest.raises(UserError, match=f"runs stn-cluster {__version__}, but this is 0.0.1"):
            client.jobs()
    assert httpx.get(f"{client.url}/v1/health").headers["stn-cluster-version"] == __version__
