"""A store whose rows are read again only after they have changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from stn_cluster.grid import Cell
from stn_cluster.store import Kind, Store, matching

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")


class RememberedStore(Store):
    """A store that looks for changes only when it is told to."""

    _known: dict[Hashable, Any]
    _revision: str | None = None

    def look(self) -> None:
        """Forgets what was read if the store has changed since."""
        revision = self.revision()
        if revision != self._revision:
            self._known, self._revision = {}, revision

    def remember(self, name: Hashable, make: Callable[[], T]) -> T:
        """A value that was made of what was read: made again only after a change."""
        if name not in self._known:
            self._known[name] = make()
        found: T = self._known[name]
        return found

    def read(self, kind: Kind, columns: Sequence[str] | None = None) -> pa.Table:
        """See `Store.read`."""
        name = ("read", kind, None if columns is None else tuple(columns))
        return self.remember(name, lambda: Store.read(self, kind, columns))

    def results(
        self,
        latest: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """See `Store.results`."""
        found = self.remember(("results", latest), lambda: Store.results(self, latest))
        rows = matching(found, filters or {}).copy(deep=False)
        return rows if columns is None else rows[list(columns)]

    def submitted(self) -> list[Cell]:
        """See `Store.submitted`."""
        return self.remember("submitted", lambda: Store.submitted(self))
