"""Time that the transfer of a whole grid takes: every cell on five test sets.

    python jobs/benchmarks/transfer.py --store STORE     # default: a store that it trains

Without a store, configs/quickstart.yaml is trained first, which takes a few minutes. Its store is
copied, so that every time all evaluations are due. `computing` is the time from the first worker's
start to the last result, `first_to_last` that between the first result and the last.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from stn_cluster import load_evaluations
from stn_cluster.store import Store

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def main(
    store: Path | None = None,
    times: int = 3,
    workers: int = 2,
    on: Annotated[str, typer.Option("--on")] = "clean,R,RTS,P,E",
    worst_of: int = 1,
    data_root: Path | None = None,
) -> None:
    """Evaluates all cells of a store `times` times and prints seconds as JSON."""
    options = ["--workers", str(workers)]
    options += [] if data_root is None else ["--data-root", str(data_root)]
    with tempfile.TemporaryDirectory() as folder:
        if store is None:
            store = Path(folder, "trained")
            _run("run", str(CONFIG), "--store", str(store), *options)
        asked = ["--on", on, "--worst-of", str(worst_of), *options]
        found = [once(store, Path(folder, str(number)), asked) for number in range(times)]
    figures = {name: [round(one[name], 2) for one in found] for name in found[0]}
    typer.echo(json.dumps(figures | {f"{name}_median": median(figures[name]) for name in figures}))


def once(store: Path, copy: Path, asked: list[str]) -> dict[str, float]:
    """Seconds from the command to its end, and of the evaluations alone; their number."""
    shutil.copytree(store, copy, ignore=lambda _, names: {"queue", "evaluations"} & set(names))
    Store.open(copy, create=True)
    began = datetime.now(UTC).replace(tzinfo=None)  # as rows have it
    _run("evaluate", "--store", str(copy), *asked)
    in_all = (datetime.now(UTC).replace(tzinfo=None) - began).total_seconds()
    rows = load_evaluations(copy)
    assert (rows["status"] == "succeeded").all()
    ends = rows["accepted_at"]
    logs = [path for key in rows["evaluation"] for path in (copy / "logs" / key).glob("*.log")]
    starts = [_first_line(path) for path in logs]
    return {
        "evaluations": len(rows),
        "in_all": in_all,
        "computing": (ends.max() - min(starts)).total_seconds(),
        "first_to_last": (ends.max() - ends.min()).total_seconds(),
    }


def _first_line(path: Path) -> datetime:
    """Time of the first line of a log."""
    with path.open() as lines:
        return datetime.strptime(lines.readline()[:20], "%Y-%m-%dT%H:%M:%SZ")


def _run(*arguments: str) -> None:
    command = [sys.executable, "-m", "stn_cluster.cli", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    typer.run(main)
