"""The driver of the chaos run: submits its job to the service of a Ray, and watches it to its end.

It may be killed and started again at any moment: whatever it does is the same when done twice.
Says how far it is, one of `STAGES` a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import ray
import typer

from stn_cluster.cluster.connect import start
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import Job
from stn_cluster.registry import resolve

JOB_ID = "chaos"
STAGES = ("starting", "submitting", "watching", "ended")


def make_cells(count: int) -> list[Cell]:
    """Makes `count` cells of 50 to 200 ms, trained in packs of two."""
    config = {
        "dataset": "digits",
        "recipe": {"name": "smoke", "iterations": 48},
        "models": ["FCN", "ST-FCN"],
        "transforms": ["none", "affine"],
        "distortions": ["R"],
        "seeds": list(range((count + 1) // 2)),
    }
    return resolve(parse_config(config))[:count]


def make_settings(folder: Path, workers: int) -> Settings:
    """A service with its store and state below a folder, which notes much and often."""
    return Settings(
        store=str(folder / "store"),
        state=str(folder / "state"),
        workers=workers,
        heartbeat_seconds=0.5,
        checkpoint_steps=16,
    )


def main(
    address: Annotated[str, typer.Option(help="Of the Ray to use.")],
    folder: Annotated[Path, typer.Option(help="Of the service's store and state.")],
    cells: Annotated[int, typer.Option(help="How many.")],
    workers: Annotated[int, typer.Option(help="Of the service.")],
) -> None:
    """Submits a job and watches it until it ends."""
    _say("starting")
    ray.init(address=address, log_to_driver=False, logging_level="error")
    client = start(make_settings(folder, workers))
    _say("submitting")
    client.submit(Job(JOB_ID, tuple(make_cells(cells))))
    _say("watching")
    for _ in client.watch(JOB_ID):
        pass
    _say("ended")


def _say(stage: str) -> None:
    assert stage in STAGES
    print(stage, flush=True)


if __name__ == "__main__":
    typer.run(main)
