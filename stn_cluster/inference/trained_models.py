"""Networks as they were trained, from a store's checkpoints or its published weights."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stn_cluster.data.random_state import RandomState, seed_of
from stn_cluster.errors import StoreError, UserError
from stn_cluster.inference.stored_cells import StoredCell, find_cell, no_weights, training
from stn_cluster.paths import user_path
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.recipes import Recipe, Shape
from stn_cluster.registry import check_weights, load_submitted, lookup
from stn_cluster.store import Store
from stn_cluster.training.attributes import Attributes
from stn_cluster.training.building import alone, build_model
from stn_cluster.training.checked_model import component_of
from stn_cluster.training.checkpoints import from_bytes
from stn_cluster.training.weight_files import (
    WeightFile,
    from_safetensors,
    load_into,
    read_weights,
)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainedWeights:
    """Weights of a trained cell."""

    stored: StoredCell
    file: WeightFile
    # Module, name and value of each Python attribute that training has changed; None: they could
    # not be kept.
    attributes: list[tuple[str, str, Any]] | None


def load_model(
    store: str | os.PathLike[str] | Store,
    cell: str,
    *,
    seed: int | None = None,
    attempt: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    **filters: Any,
) -> nn.Module:
    """Loads a trained network in evaluation mode, on the CPU.

    Args:
        store: a store, or its path or URI.
        cell: the cell's label, with or without the seed, as in 'ST-CNN/tps/RTS'; or its key.
        seed: of several with this label.
        attempt: id of one of its attempts; None: the newest one that succeeded.
        data_root: folder of the file of weights of a model that was not trained here; None: `data`.
        filters: dataset, recipe: where cells of several have this label.

    Returns:
        The network: images (N, C, canvas, canvas) of 0 to 1 -> scores (N, classes). Its attribute
        `trained` is the `StoredCell` that it was.

    Warns:
        UserWarning: Python attributes of a plug-in's model, which training has changed, could not
            be kept.

    Raises:
        NotFoundError: there is no such cell, or its weights are not here; the message has the
            command that trains it.
        UserError: several cells are meant; or a component is of another version than what was
            trained.
        StoreError: there is no store, or a file in it cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    root = None if data_root is None else user_path(data_root)
    return built(opened, load_weights(opened, cell, seed, attempt, filters, root))


def load_weights(
    store: Store,
    name: str,
    seed: int | None,
    attempt: str | None,
    filters: dict[str, Any],
    data_root: Path | None = None,
) -> TrainedWeights:
    """Reads the weights of a trained cell: see `load_model`."""
    stored = find_cell(store, name, seed, attempt, filters)
    cell = stored.cell
    if not cell.is_trained:
        return TrainedWeights(stored, read_weights(check_weights(cell, data_root)), [])
    kept = store.checkpoints.read(cell.key, stored.attempt, WEIGHTS)
    published = store.weights.read(cell.key) if kept is None and attempt is None else None
    return trained_weights(store, stored, kept, published)


def trained_weights(
    store: Store, stored: StoredCell, kept: bytes | None, published: bytes | None
) -> TrainedWeights:
    """Weights from a trained cell's last checkpoint, or else from its published ones.

    Raises:
        NotFoundError: there are neither; the message has the command that trains the cell.
        StoreError: they are damaged.
    """
    cell = stored.cell
    whose = f"of {cell.label} in {store.name}"
    try:
        if kept is not None:
            state = from_bytes(kept)
            stored = replace(stored, n_classes=state.get("n_classes", stored.n_classes))
            weights = WeightFile(whose, state["model"])
            return TrainedWeights(stored, weights, state.get("attributes", []))
        if published is not None:
            return TrainedWeights(stored, WeightFile(whose, from_safetensors(published)), [])
    except ValueError as error:
        raise StoreError(f"weights {whose} are damaged: {error}") from error
    raise no_weights(store, cell)


def built(store: Store, weights: TrainedWeights) -> nn.Module:
    """Builds the network of trained weights: see `load_model`."""
    stored, cell = weights.stored, weights.stored.cell
    load_submitted(cell, store.plugins.read)
    for kind, name in (("model", cell.architecture), ("transform", cell.transform)):
        present, then = lookup(kind, name).revision, cell.revisions[f"{kind}:{name}"]  # type: ignore[arg-type]
        if present != then:
            raise UserError(
                f"{cell.label} was trained with revision {then} of {kind} {name!r}; here it has "
                f"{present}; {training(store, cell.key)}"
            )
    name, user_code = component_of(cell)
    random = RandomState(seed_of("weights", cell.seed), CPU, user_code=user_code)
    fields = Recipe if cell.is_trained else Shape
    with alone(name, user_code, random):
        model = build_model(cell, fields.model_validate(cell.settings), stored.n_classes)
        attributes = Attributes(model) if user_code else None
        load_into(model, weights.file, name)
    if weights.attributes is None:
        warnings.warn(
            f"{name} has attributes that training has changed and no file can hold: they are as "
            "it was built",
            stacklevel=3,
        )
    elif attributes is not None:
        attributes.load_state_dict(weights.attributes)
    model.trained = stored  # type: ignore[assignment]
    return model.eval()
