"""Packs of small cells for the tests of training."""

from __future__ import annotations

import torch

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.training.checkpoints import from_bytes
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.trainer import PackTrainer

ITERATIONS = 24


def make_cells(**fields: object) -> list[Cell]:
    recipe = {"name": "smoke", "iterations": ITERATIONS} | fields.pop("recipe", {})  # type: ignore[operator]
    return resolve(parse_config({"recipe": recipe, "distortions": ["E"], **fields}))


def train(
    cells: list[Cell], data: DataCache, states: dict[str, bytes] | None = None
) -> dict[str, Outcome]:
    ended = [o for progress in PackTrainer(cells, data, states).run() for o in progress.ended]
    assert len(ended) == len(cells)
    return {outcome.key: outcome for outcome in ended}


def arithmetic(outcome: Outcome) -> tuple[object, ...]:
    """The parts of an outcome that must not depend on the pack, the worker or interruptions."""
    assert outcome.error is None
    assert outcome.weights is not None
    weights = from_bytes(outcome.weights)["model"]
    return (
        outcome.predictions,
        outcome.confusion,
        outcome.n_wrong,
        outcome.curve,
        outcome.iterations,
        {
            name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
            for name, value in weights.items()
        },
    )
