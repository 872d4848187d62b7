"""Known results: the newest success and the newest failure of each work item in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StoredResult:
    """One row of the store's `cells` or `evaluations`, with only what the queue needs."""

    key: str
    attempt: str | None  # None: an evaluation of the store, which does not tell it
    accepted_at: int  # microseconds since 1970, UTC
    test_error: float | None = None  # percent; None for a failure, or a success without a test
    error: str | None = None  # why it failed, one line; None for a success
    weights_attempt: str | None = None  # of an evaluation: the attempt whose weights it is of


class Keyed(Protocol):
    """A cell or an evaluation, or a row of one."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def evaluates(self) -> str | None:
        """Key of the cell that it evaluates; None: it is a cell."""


class KnownResults:
    """Results in the store; new ones are added when they are committed."""

    def __init__(self, results: Iterable[StoredResult] = ()) -> None:
        self._successes: dict[str, StoredResult] = {}
        self._failures: dict[str, StoredResult] = {}
        self.watermark = 0  # accepted_at of the newest result
        self.add(results)

    def add(self, results: Iterable[StoredResult]) -> None:
        """Adds rows of the store, in any order."""
        for result in results:
            newest = self._successes if result.error is None else self._failures
            if result.key not in newest or newest[result.key].accepted_at < result.accepted_at:
                newest[result.key] = result
            self.watermark = max(self.watermark, result.accepted_at)

    def success(self, key: str) -> StoredResult | None:
        """Newest success of a cell or an evaluation."""
        return self._successes.get(key)

    def current(self, item: Keyed) -> StoredResult | None:
        """Success that stands: an evaluation's stands until its cell is trained again."""
        result = self.success(item.key)
        if result is None or item.evaluates is None:
            return result
        trained = self.success(item.evaluates)
        return result if trained and trained.attempt == result.weights_attempt else None

    def after(self, key: str, since: int) -> StoredResult | None:
        """Result of a cell that was accepted later than `since`; successes take precedence."""
        for results in (self._successes, self._failures):
            if key in results and results[key].accepted_at > since:
                return results[key]
        return None
