"""Writes manifest.json: a store's results, their origin and the command that repeats them.

python jobs/manifest.py configs/mnist.yaml --store results/mnist

This publishes the store: no results can be added to it any more.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from stn_cluster import load_results
from stn_cluster.cli.options import DataRootOption
from stn_cluster.config_file import load_config
from stn_cluster.registry import resolve
from stn_cluster.store import Store, is_published

LIBRARIES = ("torch", "torchvision", "ray", "numpy", "pandas", "pyarrow", "pydantic")


def main(
    config: Annotated[Path, typer.Argument(help="YAML file: what was run.")],
    store: Annotated[Path, typer.Option(help="Result store.")],
    data_root: DataRootOption = None,
) -> None:
    """Write STORE/manifest.json of the config's current results; those missing are named in it."""
    if not is_published(store):
        with Store.open(store).lock():  # a service that is at work in it would go on writing
            pass
    cells = resolve(load_config(config), data_root)
    rows = load_results(store, key=[cell.key for cell in cells], status="succeeded")
    held = set(rows["key"])
    here = shlex.quote(str(store))
    rerun = f"stn-cluster rerun --store {here} --key"
    manifest = {
        "config": str(config),
        "dataset": distinct(rows["dataset"]),
        "recipe": distinct(rows["recipe"]),
        "seeds": distinct(rows["seed"]),
        "cells": len(rows),
        "missing": [cell.label for cell in cells if cell.key not in held],
        "git_commit": distinct(rows["git_commit"]),  # of the code that trained; + is changed code
        "stn_cluster": distinct(rows["stn_cluster_version"]),
        "torch": distinct(rows["torch_version"]),
        "device": distinct(rows["device"]),
        "environment": {"python": platform.python_version(), "system": platform.system()}
        | {name: importlib.metadata.version(name) for name in LIBRARIES},
        "first_started": str(rows["started_at"].min().tz_localize("UTC")),
        "last_finished": str(rows["finished_at"].max().tz_localize("UTC")),
        # Of the attempts that came to an end. What interrupted ones took is in the next alone.
        "wall_seconds": round(busy_seconds(rows)),
        "train_seconds": round(rows["train_seconds"].sum()),  # of all workers together
        "commands": {
            "run": f"stn-cluster run {config} --store DIR --data-root ROOT",
            "table": f"stn-cluster table --store {here}",
            "manifest": f"python jobs/manifest.py {config} --store {here}",
            "rerun": {
                row.label: f"{rerun} {row.key} --into DIR --data-root ROOT"
                for row in rows.itertuples()
            },
        },
    }
    Path(store, "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def distinct(column: pd.Series) -> list[Any]:
    """Distinct values of a column, sorted."""
    return sorted(column.dropna().unique().tolist())


def busy_seconds(rows: pd.DataFrame) -> float:
    """Total length of the union of all attempts' time intervals."""
    seconds, reached = 0.0, None
    for row in rows.sort_values("started_at").itertuples():
        begins = row.started_at if reached is None else max(row.started_at, reached)
        seconds += max(0.0, (row.finished_at - begins).total_seconds())
        reached = row.finished_at if reached is None else max(reached, row.finished_at)
    return seconds


if __name__ == "__main__":
    typer.run(main)
