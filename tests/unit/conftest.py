"""What all unit tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from stn_cluster.registry import components, plugins
from stn_cluster.store import Store

if TYPE_CHECKING:
    from support.queues import QueueUnderTest
    from support.s3 import S3Server

    from stn_cluster.data.cache import DataCache


TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> Iterator[None]:
    """One thread, as a worker has: quicker on small tensors, and never in each other's way."""
    torch = sys.modules.get("torch")  # not imported for tests that do without
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder."""
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def s3_store(s3_server: S3Server) -> Store:
    """An empty store on an object store."""
    return Store.open(s3_server.uri(f"results/{uuid4().hex}"), create=True)


@pytest.fixture(params=["local", "s3"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """A store of each kind."""
    found: Store = request.getfixturevalue("store" if request.param == "local" else "s3_store")
    return found


@pytest.fixture(scope="module")
def data() -> DataCache:
    """All data sets, on the CPU."""
    import torch

    from stn_cluster.data.cache import DataCache

    return DataCache(None, torch.device("cpu"))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The built-in components alone, also after tests whose plug-ins this process has imported."""
    built_in = {(entry.kind, entry.name): entry for entry in components._BUILT_IN}
    monkeypatch.setattr(components, "_entries", built_in)
    monkeypatch.setattr(plugins, "_active", {})
    monkeypatch.setattr(plugins, "_known", {})
    yield
    for plugin in list(plugins._active.values()):
        if not any(TESTS in unit.path.parents for unit in plugin.brought.units):
            plugins._forget(plugin)  # its file is the test's own


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[QueueUnderTest]:
    """A queue in a folder of its own, and what its store holds."""
    from support.queues import QueueUnderTest

    queue = QueueUnderTest(tmp_path / "state")
    yield queue
    queue.close()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Event loop of tests that are marked `anyio`."""
    return "asyncio"
