"""Time from `stn-cluster run` to its first step, and from cell to cell.

    python jobs/benchmarks/startup.py

Every cell is a single step of the recipe `fast` and its test; the first one's end, which comes a
little after its first step, is what counts. In turns with nothing: leave the machine alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import typer
import yaml

from stn_cluster import load_results


def main(dataset: str = "digits", data_root: Path | None = None, times: int = 5) -> None:
    """Runs a grid of single steps `times` times and prints seconds as JSON."""
    found = [once(dataset, data_root) for _ in range(times)]
    figures = {name: [round(one[name], 3) for one in found] for name in found[0]}
    typer.echo(json.dumps(figures | {f"{name}_median": median(figures[name]) for name in figures}))


def once(dataset: str, data_root: Path | None) -> dict[str, float]:
    """Seconds from the command to the first cell's start and end, between two ends, and in all."""
    recipe = {"name": "fast", "iterations": 1}
    config: dict[str, Any] = {"dataset": dataset, "recipe": recipe, "models": ["FCN", "ST-FCN"]}
    with tempfile.TemporaryDirectory() as folder:
        file, store = Path(folder, "grid.yaml"), Path(folder, "store")
        file.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "stn_cluster.cli", "run", str(file), "--store", str(store)]
        command += [] if data_root is None else ["--data-root", str(data_root)]
        began = datetime.now(UTC).replace(tzinfo=None)  # as results have it
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        ended = datetime.now(UTC).replace(tzinfo=None)
        rows = load_results(store)
    ends = rows["finished_at"].sort_values()
    return {
        "first_start": (rows["started_at"].min() - began).total_seconds(),
        "first_step": (ends.iloc[0] - began).total_seconds(),
        "each_cell": (ends.iloc[-1] - ends.iloc[0]).total_seconds() / (len(ends) - 1),
        "in_all": (ended - began).total_seconds(),
    }


if __name__ == "__main__":
    typer.run(main)
