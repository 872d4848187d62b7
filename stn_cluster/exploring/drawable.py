"""Cells whose networks can be shown a drawing, and the data sets that it is made for."""

from __future__ import annotations

import json
from typing import Any

from stn_cluster.exploring.cell_details import class_names
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import Store, is_published, rerun_command

MOST_CELLS = 5000
_NAMES = ("key", "label", "dataset", "recipe", "model", "transform", "distortion", "seed")
DIGITS = ("mnist", "digits")  # whose images a drawing is made like, and those of their splits


def digits_like(dataset: str) -> str | None:
    """The one of `DIGITS` that a data set's images are like, or None if they are pictures."""
    whole = dataset.partition("-validation")[0]
    return whole if whole in DIGITS else None


def drawable(store: Store) -> dict[str, Any]:
    """Data sets, and succeeded cells with what is known of their weights.

    Returns:
        datasets: name, frame (px), channels, background (0 to 255), class_names, kind (digits or
        image). cells: names, canvas (px), frame (px of the canvas that an image
        takes), weights, and the command that trains each; the first 5,000.
    """
    columns = [*dict.fromkeys([*_NAMES, "key", "attempt", "dataset", "spec"])]
    rows = store.results(columns=columns, filters={"status": "succeeded"}).head(MOST_CELLS)
    kept = {(key, attempt) for key, attempt, name in store.checkpoints.all() if name == WEIGHTS}
    published = store.weights.keys()
    is_public = is_published(store.uri)
    datasets: dict[str, dict[str, Any]] = {}
    cells = []
    for row in rows.to_dict("records"):
        spec = json.loads(row["spec"])
        data = spec.get("data", {})
        name = row["dataset"]
        if name not in datasets:
            datasets[name] = {
                "name": name,
                "frame": data.get("frame", 28),
                "channels": data.get("channels", 1),
                "background": data.get("background", [0]),
                "class_names": class_names(store, name, data.get("n_classes", 10)),
                "kind": "image" if digits_like(name) is None else "digits",
            }
        own = {field: row[field] for field in _NAMES} | {"canvas": spec["canvas"]}
        fills = str(spec.get("variant", "")).endswith("enlarged")
        own["frame"] = spec["canvas"] if fills else datasets[name]["frame"]
        weights = (row["key"], row["attempt"]) in kept or row["key"] in published
        is_file = bool((spec.get("network") or {}).get("weights"))
        repeat = rerun_command(store.name, row["key"], is_public)
        cells.append(own | {"weights": weights or is_file, "repeat": repeat})
    return {"datasets": list(datasets.values()), "cells": cells}
