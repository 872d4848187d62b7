"""Failures of object stores: reported in one line, within seconds, and without secrets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pandas as pd
import pytest
from support.records import make_record
from support.s3 import REGION, SECRET, USER, S3Server

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import SCHEMAS, Store

OPTIONS = f"region={REGION}"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Port of a server that accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Port without a server."""
    with socket.socket() as holder:  # bound, so that nobody else gets it
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def refusal(uri: str, seconds: float = 20) -> str:
    """Error message when this store is made."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Store.open(uri, create=True)
    assert time.monotonic() - began < seconds
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


def test_a_server_that_is_not_there_is_told_within_seconds(closed_port: int) -> None:
    place = f"endpoint_override=http://127.0.0.1:{closed_port}"
    text = refusal(f"s3://{USER}:{SECRET}@bucket/mine?{place}&{OPTIONS}", seconds=10)
    assert text.startswith("s3://bucket/mine: cannot be read: ")
    assert "Could not connect to server" in text
    assert str(closed_port) in text


def test_a_server_that_says_nothing_is_given_up_within_seconds(silent_port: int) -> None:
    place = f"endpoint_override=http://127.0.0.1:{silent_port}"
    text = refusal(f"s3://{USER}:{SECRET}@bucket/mine?{place}&{OPTIONS}", seconds=30)
    assert "Timeout was reached" in text


def test_a_bucket_that_is_not_there_is_named_and_not_made(s3_server: S3Server) -> None:
    text = refusal(s3_server.uri("mine", bucket="nowhere"))
    assert text.startswith("s3://nowhere/mine: cannot be made: Bucket 'nowhere' not found")
    with pytest.raises(StoreError, match="s3://nowhere/mine: no result store here"):
        load_results(s3_server.uri("mine", bucket="nowhere"))


def test_wrong_credentials_are_told(s3_server: S3Server, s3_store: Store) -> None:
    with s3_server.checking_credentials():
        assert "ACCESS_DENIED" in refusal(s3_store.uri)
        with pytest.raises(StoreError, match="ACCESS_DENIED"):
            load_results(s3_store.uri)
    assert load_results(s3_store.uri).empty


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://someone:swordfish@/mine", "Missing bucket name"),
        ("s3://someone:sword fish@bucket/mine", "s3://bucket/mine"),
        ("s3://someone:swordfish/swordfish@bucket/mine", "s3://bucket/mine"),
        (f"s3://someone:swordfish@bucket/mine?{OPTIONS}&endpoint=swordfish", "'endpoint'"),
        ("s3x://someone:swordfish@bucket/mine", "s3x://bucket/mine"),
    ],
)
def test_a_malformed_uri_is_told_without_its_secret(uri: str, said: str) -> None:
    text = refusal(uri)
    assert said in text
    assert "fish" not in text


def test_a_store_needs_no_more_than_its_name_where_the_environment_says_the_rest(
    s3_server: S3Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_store.commit([make_record()])
    name = f"s3://{s3_store._files.root}"
    assert len(load_results(name)) == 1
    assert len(pd.read_parquet(f"{name}/cells")) == 1


# --- while it is in use ---


def test_a_small_file_is_one_request(s3_server: S3Server, s3_store: Store) -> None:
    del s3_server.requests[:]
    s3_store.checkpoints.write("k", "one", "state.pt", b"1")
    root = s3_store._files.root
    assert s3_server.requests == [f"PUT /{root}/checkpoints/k/one/state.pt"]


def test_a_commit_that_the_server_refuses_half_way_leaves_nothing_behind(
    s3_server: S3Server, s3_store: Store
) -> None:
    record = make_record()
    with (
        s3_server.refusing(lambda request: request.startswith("PUT") and "/cells/" in request),
        pytest.raises(StoreError, match=r"/cells/.+: cannot be written: .*SLOW_DOWN"),
    ):
        s3_store.commit([record])
    assert [s3_store.read(kind).num_rows for kind in SCHEMAS] == [0] * len(SCHEMAS)
    s3_store.commit([record])
    assert [s3_store.read(kind).num_rows for kind in SCHEMAS] == [1, 2, 1, 0, 0, 0]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    s3_server: S3Server, s3_store: Store
) -> None:
    refusals = iter([True, True])
    with s3_server.refusing(lambda _: next(refusals, False)):
        s3_store.commit([make_record()])
    assert next(refusals, None) is None
    assert len(s3_store.results()) == 1
