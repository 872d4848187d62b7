"""What the store says became of cells: the newest success and the newest failure of each key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredResult:
    """One row of the store's `cells`, as far as the queue needs it."""

    key: str
    attempt: str
    accepted_at: int  # microseconds since 1970, UTC
    test_error: float | None = None  # percent; None for a failure
    error: str | None = None  # why it failed, one line; None for a success


class KnownResults:
    """All ends that the store holds; grows as results are committed."""

    def __init__(self, ends: Iterable[StoredResult] = ()) -> None:
        self._successes: dict[str, StoredResult] = {}
        self._failures: dict[str, StoredResult] = {}
        self.watermark = 0  # accepted_at of the newest
        self.add(ends)

    def add(self, ends: Iterable[StoredResult]) -> None:
        """Notes rows of the store, in any order."""
        for end in ends:
            newest = self._successes if end.error is None else self._failures
            if end.key not in newest or newest[end.key].accepted_at < end.accepted_at:
                newest[end.key] = end
            self.watermark = max(self.watermark, end.accepted_at)

    def success(self, key: str) -> StoredResult | None:
        """The newest success of a cell."""
        return self._successes.get(key)

    def after(self, key: str, since: int) -> StoredResult | None:
        """The cell's end that was accepted later than `since`: a success before a failure."""
        for ends in (self._successes, self._failures):
            if key in ends and ends[key].accepted_at > since:
                return ends[key]
        return None
