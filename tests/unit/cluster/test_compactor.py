"""Compaction of a store by a coordinator that has nothing else to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.records import make_record

from stn_cluster.cluster import compactor
from stn_cluster.store import Store, compaction
from stn_cluster.threads import SingleThread

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compactor, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(compactor, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(compaction, "SWAP_SECONDS", 0.01)


class Service:
    """A service that has work, or none, and has made so many commits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.commits: int | None = None
        self.asked = 0
        self.becomes_busy_at = -1  # when it is asked so often

    def __call__(self) -> int | None:
        self.asked += 1
        if self.asked == self.becomes_busy_at:
            self.commits = None
        return self.commits

    def files(self, kind: str = "cells") -> int:
        return len(self.store._files.names(kind, ".parquet")) - 1


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    thread = SingleThread("store")
    task = asyncio.create_task(compactor.compact_when_idle(service.store, thread, service))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        thread.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def service(store: Store) -> Service:
    for _ in range(9):
        store.commit([make_record()])
    return Service(store)


async def test_a_store_is_compacted_once_there_is_no_work_for_a_while(service: Service) -> None:
    async with running(service):
        await asyncio.sleep(0.3)
        assert service.files() == 9
        service.commits = 0
        await until(lambda: service.files() == 1)
        await until(lambda: service.files("predictions") == 1)
    assert service.store.read("cells").num_rows == 9
    service.store.check()


async def test_it_is_compacted_again_only_after_a_commit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    compact = Store.compact
    monkeypatch.setattr(Store, "compact", lambda self: begun.append(self) or compact(self))
    service.commits = 0
    async with running(service):
        await until(lambda: service.files("predictions") == 1)
        await asyncio.sleep(0.3)
        assert len(begun) == 1
        for _ in range(8):
            service.store.commit([make_record()])
        service.commits = 1
        await until(lambda: service.files("predictions") == 1)
    assert len(begun) == 2
    assert service.store.read("cells").num_rows == 17


async def test_it_is_given_up_when_there_is_work_and_goes_on_later(service: Service) -> None:
    service.commits = 0
    async with running(service):
        await until(lambda: service.asked > 5)
        # It is asked before each step: of those of `cells`, nine read a file.
        service.becomes_busy_at = service.asked + 12
        await until(lambda: service.commits is None)
        await asyncio.sleep(0.2)
        assert service.files("predictions") == 9
        service.commits = 1
        await until(lambda: service.files("predictions") == 1)
    assert service.store.read("predictions").num_rows == 9


async def test_a_swap_that_has_begun_is_brought_to_its_end(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = compaction.Compaction._merge

    def merge_and_get_work(self: compaction.Compaction, kind: str, run: list[str]) -> object:
        yield from merge(self, kind, run)  # type: ignore[arg-type]
        service.commits = None

    monkeypatch.setattr(compaction.Compaction, "_merge", merge_and_get_work)
    service.commits = 0
    async with running(service):
        await until(lambda: service.commits is None)
        await until(lambda: service.files() == 1)
        await asyncio.sleep(0.2)
        assert service.files("curves") == 9
    assert service.store.read("cells").num_rows == 9


async def test_a_published_store_stays_as_it_is(service: Service) -> None:
    (Path(service.store.uri) / "manifest.json").write_text("{}")
    service.commits = 0
    async with running(service):
        await asyncio.sleep(0.5)
    assert service.files() == 9


async def test_a_disk_that_fails_is_told_and_tried_again_after_the_next_commit(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(service.store.uri)
    service.commits = 0
    (folder / "tmp").rmdir()
    (folder / "tmp").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        async with running(service):
            await until(lambda: "the store is compacted later" in caplog.text)
            assert service.files() == 9
            (folder / "tmp").unlink()
            service.commits = 1
            await until(lambda: service.files("predictions") == 1)
    assert caplog.text.count("the store is compacted later") == 1
    assert service.store.read("cells").num_rows == 9


async def test_a_file_that_is_left_is_told_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    torn = Path(service.store.uri) / "curves" / "20260101T000000000000-abcdef01.parquet"
    torn.write_bytes(b"PAR1 and then the power went")
    service.commits = 0
    with caplog.at_level(logging.WARNING):
        async with running(service):
            await until(lambda: service.files("predictions") == 1)
            for commits in (1, 2):
                for _ in range(8):
                    service.store.commit([make_record()])
                service.commits = commits
                await until(lambda: service.files("predictions") == 1)
    assert caplog.text.count(f"not compacted: {torn}: torn") == 1
    assert service.files("curves") == 2
