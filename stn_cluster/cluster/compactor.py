"""Compaction of the store by the coordinator, while there is nothing else to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stn_cluster.errors import StoreError
from stn_cluster.store import Store, is_published
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0  # without work, before it begins
LOOK_SECONDS = 0.5  # between two looks whether there is work


async def compact_when_idle(
    store: Store, thread: SingleThread, commits: Callable[[], int | None]
) -> None:
    """Compacts a store whenever there has been no work for a while; ends only when cancelled.

    It begins after each commit that is the last for a while, and is given up as soon as there is
    work, but for the removal of files that are replaced already: what is left to do waits for the
    next time.

    Args:
        store: the result store.
        thread: the thread that writes to the store.
        commits: number of commits so far; None while there is work.
    """
    done: int | None = None  # number of commits when the store was compacted last
    left: set[str] = set()
    while True:
        found = await _when_idle(commits, done)
        try:
            published = await thread.run(is_published, store.uri)
            if published or await _compact(store, thread, commits, left):
                done = found
        except StoreError as error:
            log.warning("the store is compacted later: %s", error)
            done = found


async def _when_idle(commits: Callable[[], int | None], done: int | None) -> int:
    """Waits until there has been no work for a while, and a commit since; returns their number."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    while True:
        found = commits()
        if found is None or found == done:
            since = loop.time()
        elif loop.time() - since >= IDLE_SECONDS:
            return found
        await asyncio.sleep(LOOK_SECONDS)


async def _compact(
    store: Store, thread: SingleThread, commits: Callable[[], int | None], left: set[str]
) -> bool:
    """Compacts a store as long as there is no work; returns whether it came to the end.

    Raises:
        StoreError: the store is unavailable.
    """
    compaction = store.compact()
    steps = iter(compaction)
    before = await thread.run(store.usage)
    while compaction.swapping or commits() is not None:
        seconds = await thread.run(next, steps, None)
        if seconds is None:
            break
        await asyncio.sleep(seconds)
    else:
        return False
    for name in compaction.left.keys() - left:
        log.warning("not compacted: %s", compaction.left[name])
        left.add(name)
    after = await thread.run(store.usage)
    if after != before:
        total = (sum(files for files, _ in usage.values()) for usage in (before, after))
        log.info("compacted the store: %d files are %d now", *total)
    return True
