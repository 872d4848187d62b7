"""Cells that are really trained, and their results in a store, without a service."""

from __future__ import annotations

from pathlib import Path

import torch

from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.cluster.rows import to_record, to_test_set
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import WEIGHTS, Attempt, utc_now
from stn_cluster.store import Store
from stn_cluster.training.outcome import Outcome
from support.packs import train
from support.workers import HERE


def train_into(
    store: Store, cells: list[Cell], name: str = "a", data_root: Path | None = None
) -> dict[str, Outcome]:
    """Trains cells, as the attempts a0, a1 ..., and commits them."""
    publish_plugins(cells, store)
    outcomes = train(cells, DataCache(data_root, torch.device("cpu")))
    records, test_sets = [], []
    for number, cell in enumerate(cells):
        attempt = Attempt(f"{name}{number}", cell, "j", len(cells), HERE, utc_now())
        outcome = outcomes[cell.key]
        records.append(to_record(attempt, outcome))
        if outcome.labels is not None:
            test_sets.append(to_test_set(outcome.labels))
        if outcome.weights is not None:
            store.checkpoints.write(cell.key, attempt.id, WEIGHTS, outcome.weights)
    store.commit(records, test_sets)
    return outcomes
