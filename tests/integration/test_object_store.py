"""The real command with a store on S3: a run, what looks at it, and servers that refuse it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from uuid import uuid4

import pytest
from support.commands import stn_cluster
from support.refusals import Command, assert_refused, everything
from support.s3 import SECRET, USER, S3Server

from stn_cluster import load_results
from stn_cluster.store.files import Files

CONFIG = Path(__file__).parents[2] / "configs" / "smoke.yaml"
FEW = (
    "--set",
    "models=[CNN, ST-CNN]",
    "--set",
    "distortions=[R]",
    "--set",
    "transforms=[none,tps]",
)


@pytest.fixture
def name() -> str:
    return f"results/{uuid4().hex}"


def test_a_run_on_s3_keeps_all_there_but_its_credentials_and_can_be_looked_at(
    s3_server: S3Server, name: str, tmp_path: Path
) -> None:
    uri, state = s3_server.uri(name), tmp_path / "state"
    done = stn_cluster("run", CONFIG, *FEW, "--store", uri, "--state", state, "--workers", "1")
    assert done.returncode == 0, done.stderr
    results = load_results(uri)
    assert list(results["label"]) == ["CNN/none/R/seed0", "ST-CNN/tps/R/seed0"]
    assert set(results["status"]) == {"succeeded"}

    files = Files.at(uri)
    assert len(files.names("jobs")) == 1
    assert len(files.names("logs", ".log")) == 2
    assert [path.rpartition("/")[2] for path in files.names("checkpoints")] == ["weights.pt"] * 2
    assert files.names("tmp") == []
    table = files.read("report/table.md").decode()

    kept = {path: files.read(path) for path in files.names("")} | everything(state)
    said = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    assert [path for path, text in (kept | said).items() if SECRET.encode() in (text or b"")] == []

    looked = stn_cluster(
        *("table", "--store", f"s3://bucket/{name}", "--format", "md"),
        **s3_server.environment,
    )
    assert (looked.returncode, looked.stderr) == (0, "")
    assert looked.stdout == table


@pytest.mark.parametrize("asked", ["run", "results", "table", "rerun"])
def test_a_server_that_is_not_there_is_told_in_one_line_within_seconds(
    asked: str, command: Command, tmp_path: Path
) -> None:
    with socket.socket() as holder:  # bound, so that nobody else gets it
        holder.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{holder.getsockname()[1]}"
        uri = f"s3://{USER}:{SECRET}@bucket/mine?endpoint_override={server}&region=us-east-1"
        config = [CONFIG, "--state", tmp_path / "state"] if asked == "run" else []
        began = time.monotonic()
        told = command(asked, *config, "--store", uri)
    assert time.monotonic() - began < 15
    assert_refused(told, "s3://bucket/mine: cannot be read", "Could not connect to server")
    assert SECRET not in told.err


def test_a_bucket_that_is_not_there_is_named(
    s3_server: S3Server, command: Command, tmp_path: Path
) -> None:
    uri = s3_server.uri("mine", bucket="nowhere")
    told = command("run", CONFIG, "--state", tmp_path / "state", "--store", uri)
    assert_refused(told, "s3://nowhere/mine", "Bucket 'nowhere' not found")


def test_wrong_credentials_are_told(
    s3_server: S3Server, command: Command, name: str, tmp_path: Path
) -> None:
    with s3_server.checking_credentials():
        told = command("run", CONFIG, "--state", tmp_path, "--store", s3_server.uri(name))
    assert_refused(told, f"s3://bucket/{name}", "ACCESS_DENIED")
    assert SECRET not in told.err


def test_a_run_on_s3_has_to_be_told_where_its_state_is(command: Command) -> None:
    told = command("run", CONFIG, "--store", f"s3://{USER}:{SECRET}@bucket/mine")
    assert_refused(told, "s3://bucket/mine", "needs --state FOLDER")
    assert SECRET not in told.err
