"""Export of trained networks: weights as safetensors, and what they are of as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import stn_cluster
from stn_cluster.errors import UserError
from stn_cluster.inference.trained_models import load_weights
from stn_cluster.store import Store
from stn_cluster.training.weight_files import to_safetensors


def export_model(
    store: Store,
    cell: str,
    folder: Path,
    *,
    seed: int | None = None,
    attempt: str | None = None,
    data_root: Path | None = None,
    **filters: Any,
) -> tuple[Path, Path]:
    """Writes a trained network to a folder: KEY.safetensors, and KEY.json, which has its spec.

    In the folder `weights` of a store, `load_model` finds it.

    Args:
        store: the result store.
        cell, seed, attempt, data_root, filters: see `load_model`.
        folder: made if it is not there.

    Returns:
        The two files.

    Raises:
        UserError: see `load_model`; or the weights have values that are no tensors.
    """
    weights = load_weights(store, cell, seed, attempt, filters, data_root)
    stored = weights.stored
    if weights.attributes != []:
        raise UserError(
            f"{stored.cell.label}: training has changed Python attributes of its model, which "
            "safetensors cannot hold: make them buffers"
        )
    about = {"key": stored.cell.key, "label": stored.cell.label, "attempt": stored.attempt}
    try:
        data = to_safetensors(weights.file.state, about)
    except UserError as error:
        raise UserError(f"{stored.cell.label}: {error}") from None
    described = {
        **about,
        "n_classes": stored.n_classes,
        "class_names": stored.class_names,
        "stn_cluster_version": stn_cluster.__version__,
        "spec": stored.cell.model_dump(mode="json"),
    }
    files = tuple(folder / f"{stored.cell.key}.{kind}" for kind in ("safetensors", "json"))
    folder.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(data)
    files[1].write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return files[0], files[1]
