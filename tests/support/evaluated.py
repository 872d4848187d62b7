"""Evaluations that are really computed, and their rows in a store, without a service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stn_cluster.cluster.make_evaluations import evaluations_of, stored_cells
from stn_cluster.cluster.pack_runner import TrainedCells
from stn_cluster.cluster.rows import stored_results, to_evaluation, to_test_set
from stn_cluster.data.cache import DataCache
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.evaluation.pack_evaluator import PackEvaluator
from stn_cluster.evaluations import Evaluation
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.store import Store
from stn_cluster.training.outcome import Outcome
from support.workers import HERE

CPU = torch.device("cpu")


def wanted(store: Store, data_root: Path | None = None, **fields: Any) -> tuple[Evaluation, ...]:
    """Evaluations of a store's cells; `fields`: of `Evaluate`."""
    asked = Evaluate(of="store", **fields)
    return evaluations_of(stored_cells(store, asked.filters), asked, data_root)


def weights_of(store: Store, evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """The attempts whose weights evaluations are of."""
    known = stored_results(store)
    found = {one.key: known.success(one.cell.key) for one in evaluations}
    return {key: result.attempt for key, result in found.items() if result and result.attempt}


def evaluate(
    store: Store, evaluations: Sequence[Evaluation], data_root: Path | None = None
) -> dict[str, Outcome]:
    """Outcomes of a pack of evaluations, by key."""
    reading = TrainedCells(store, data_root, lambda call, *given: call(*given))
    pack = PackEvaluator(
        evaluations, weights_of(store, evaluations), DataCache(data_root, CPU), reading
    )
    ended = [outcome for progress in pack.run() for outcome in progress.ended]
    assert len(ended) == len(evaluations)
    return {outcome.key: outcome for outcome in ended}


def evaluate_into(
    store: Store, data_root: Path | None = None, **fields: Any
) -> tuple[Evaluation, ...]:
    """Computes evaluations of a store's cells, and commits them."""
    evaluations = wanted(store, data_root, **fields)
    attempts = weights_of(store, evaluations)
    outcomes = evaluate(store, evaluations, data_root)
    rows, test_sets = [], []
    for one in evaluations:
        attempt = Attempt(
            one.key,
            one.cell,
            "j",
            1,
            HERE,
            utc_now(),
            evaluation=one,
            weights_attempt=attempts[one.key],
        )
        outcome = outcomes[one.key]
        rows.append(to_evaluation(attempt, outcome))
        if outcome.labels is not None:
            test_sets.append(to_test_set(outcome.labels))
    store.commit_evaluations(rows, test_sets)
    return evaluations
