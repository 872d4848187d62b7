"""Verifications: what cells came to that were trained again, beside their stored results."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.store.frames import as_frame
from stn_cluster.store.loading import load_results
from stn_cluster.store.schema import SCHEMA_VERSION, Kind
from stn_cluster.store.store import Store

_COLUMNS = [
    *("key", "label", "attempt", "device", "torch", "n_test", "n_differ", "identical"),
    *("same_device", "verified_at"),
]
_ANSWERS = [
    *("predictions", "second", "confidence", "second_confidence"),
    *("predictions_wide", "second_wide"),
]


@dataclass(frozen=True)
class Difference:
    """How an attempt at a cell differs from another one at the same cell."""

    n_test: int  # test images
    n_differ: int  # of them, those with another predicted class
    identical: bool  # whether all else that both stored is the same to the bit, too


@dataclass(frozen=True)
class Verification:
    """Row of `verifications`, but for its version."""

    key: str
    attempt: str  # the stored one, that was verified
    device: str | None  # this and the next: of the training that verified it
    torch: str | None
    n_test: int
    n_differ: int
    identical: bool
    verified_at: datetime  # UTC


def add_verifications(store: Store, verifications: Sequence[Verification]) -> None:
    """Adds verifications, also to a published store; a service may hold the store meanwhile.

    Raises:
        StoreError: they cannot be written.
    """
    rows = [{**asdict(one), "schema_version": SCHEMA_VERSION} for one in verifications]
    store.add("verifications", rows)


def load_verifications(store: str | os.PathLike[str] | Store, **filters: Any) -> pd.DataFrame:
    """Loads the verifications of each cell's current result: one row per verification.

    Args:
        store: a store, or its path or URI.
        filters: see `load_results`.

    Returns:
        key, label, attempt (the stored one), device and torch (of the training that verified it),
        n_test, n_differ (test images for which it predicts another class), identical (whether
        probabilities and training losses are the same to the bit, too), same_device (whether the
        stored attempt has the same `device`), verified_at (UTC, without a time zone). In the
        table's order, those of a cell oldest first; no rows if nothing was verified.

    Raises:
        UserError: there is no such filter.
        StoreError: there is no store, or a file in it is torn, foreign or newer.
    """
    cells = load_results(store, **filters)[["key", "label", "attempt", "device"]]
    opened = store if isinstance(store, Store) else Store.open(store)
    rows = as_frame(opened.read("verifications")).sort_values("verified_at", kind="stable")
    stored = cells.rename(columns={"device": "stored_device"})
    found = stored.merge(rows, on=["key", "attempt"])
    return found.assign(same_device=found["device"] == found["stored_device"])[_COLUMNS]


def differences(store: Store, other: Store, attempts: Mapping[str, str]) -> dict[str, Difference]:
    """Compares attempts of two stores by all that both stored of them.

    Args:
        store: a store.
        other: another one.
        attempts: attempts of `store`, which have predictions, with the one of `other` for each.

    Returns:
        By attempts of `store`.

    Raises:
        StoreError: a store cannot be read.
    """
    mine, its = (_Kept.read(s, a) for s, a in ((store, attempts), (other, attempts.values())))
    return {one: mine[one].difference(its[another]) for one, another in attempts.items()}


@dataclass(frozen=True, eq=False)
class _Kept:
    """What a store keeps of an attempt."""

    answers: Mapping[str, NDArray[Any]]  # columns of `predictions`, but for those without values
    losses: Mapping[int, float]  # training loss by step

    @classmethod
    def read(cls, store: Store, attempts: Collection[str]) -> dict[str, _Kept]:
        rows = _of_attempts(store, "predictions", ["attempt", *_ANSWERS], attempts)
        points = _of_attempts(store, "curves", ["attempt", "step", "train_loss"], attempts)
        losses: dict[str, dict[int, float]] = {}
        for attempt, step, loss in points.itertuples(index=False):
            losses.setdefault(attempt, {})[step] = loss
        return {
            row["attempt"]: cls(
                {name: row[name] for name in _ANSWERS if row[name] is not None},
                losses.get(row["attempt"], {}),
            )
            for row in rows.to_dict("records")
        }

    @property
    def classes(self) -> NDArray[Any]:
        """Predicted class of each test image."""
        return self.answers.get("predictions", self.answers.get("predictions_wide", np.zeros(0)))

    def difference(self, other: _Kept) -> Difference:
        """How another attempt at the same cell differs, by what both stored."""
        n = len(self.classes)
        if len(other.classes) != n:  # of changed data: no image is known to be the same
            return Difference(n, n, identical=False)
        return Difference(
            n,
            int((self.classes != other.classes).sum()),
            identical=all(
                np.array_equal(values, other.answers[name])
                for name, values in self.answers.items()
                if name in other.answers
            )
            and all(loss == other.losses.get(step, loss) for step, loss in self.losses.items()),
        )


def _of_attempts(
    store: Store, kind: Kind, columns: Sequence[str], attempts: Collection[str]
) -> pd.DataFrame:
    rows = store.read(kind, columns=columns)
    chosen = pc.is_in(rows["attempt"], pa.array(attempts, pa.string()))
    frame: pd.DataFrame = rows.filter(chosen).to_pandas()
    return frame
