"""What each change of the recipe `fast` brought, on images that no table is made of.

    python jobs/tuning.py --data-root DIR --store results/tuning

Every variant trains the same few cells of `mnist-validation` (the training images, 50,000 to learn
from and 10,000 to test on) on the same number of images. What the store holds is not trained again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from stn_cluster import run_grid
from stn_cluster.cli.options import DataRootOption
from stn_cluster.config_file import parse_config
from stn_cluster.registry import resolve

CAPTION = """\
Test error in percent on mnist-validation, one seed, after {convolutional:,} steps of a
convolutional cell and {connected:,} of a fully connected one ({images} images a step, or as many in
smaller batches). Each variant stands on those before it that were kept.

"""
PANEL = (
    ("FCN", "none", "R"),
    ("FCN", "none", "RTS"),
    ("ST-FCN", "affine", "R"),
    ("ST-FCN", "affine", "RTS"),
    ("CNN", "none", "R"),
    ("ST-CNN", "affine", "R"),
    ("ST-CNN", "affine", "RTS"),
)
CONVOLUTIONAL_STEPS, CONNECTED_STEPS = 1500, 4000  # about half a minute each, on one core

# As `fast` began: all that has changed since is written out, so that this stays what it was.
START: dict[str, Any] = {
    "learning_rate": 4e-3,
    "batch_size": 128,
    "warmup": 0.15,
    "beta2": 0.999,
    "label_smoothing": 0.0,
    "weight_decay": 0.0,
    "localisation_rate": 1.0,
    "filters": 32,
    "by_model": {},
}
# Each variant stands on those before it that were kept.
CHANGES: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("beta2 0.999 -> 0.99", {"beta2": 0.99}, True),
    ("label smoothing 0.1", {"label_smoothing": 0.1}, True),
    ("label smoothing 0.2", {"label_smoothing": 0.2}, False),
    ("learning rate 8e-3", {"learning_rate": 8e-3}, False),
    ("localisation rate 0.3", {"localisation_rate": 0.3}, False),
    ("localisation rate 2", {"localisation_rate": 2.0}, False),
    ("weight decay 0.1", {"weight_decay": 0.1}, False),
    ("batch 64, twice the steps", {"batch_size": 64}, False),
)


def main(
    store: Annotated[Path, typer.Option(help="Result store.")] = Path("results/tuning"),
    data_root: DataRootOption = None,
    workers: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Train what is missing; print each variant's errors, and write them all to STORE/table.md."""
    rows = {}
    for name, settings, kept in variants():  # in turn: early ones can be looked at
        cells = list(panel(settings))
        trained = run_grid({"cells": cells}, store, data_root=data_root, workers=workers)
        rows[name] = [f"{error:.2f}" for error in errors(trained, cells)] + [
            "yes" if kept else "no"
        ]
        typer.echo(f"{name}: {' '.join(rows[name])}")
    caption = CAPTION.format(
        convolutional=CONVOLUTIONAL_STEPS, connected=CONNECTED_STEPS, images=START["batch_size"]
    )
    Path(store, "table.md").write_text(caption + as_markdown(rows))


def variants() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Name, fields of the recipe, and whether those that follow build on it."""
    yield "as it began", START, True
    fields = START
    for name, change, kept in CHANGES:
        yield name, fields | change, kept
        fields = fields | change if kept else fields


def panel(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The cells of a variant, as a config lists them."""
    for model, transform, distortion in PANEL:
        steps = CONVOLUTIONAL_STEPS if model.endswith("CNN") else CONNECTED_STEPS
        steps *= START["batch_size"] // settings["batch_size"]
        yield {
            "model": model,
            "transform": transform,
            "distortion": distortion,
            "dataset": "mnist-validation",
            "recipe": {"name": "fast", "iterations": steps} | settings,
        }


def errors(trained: pd.DataFrame, cells: list[dict[str, Any]]) -> list[float]:
    """Test error in percent of each cell of the panel, and their mean."""
    keys = [cell.key for cell in resolve(parse_config({"cells": cells}))]
    found = trained.set_index("key")["test_error"][keys]
    return [*found, found.mean()]


def as_markdown(rows: dict[str, list[str]]) -> str:
    """The table, a variant a row."""
    names = [" ".join(part for part in name if part != "none") for name in PANEL]
    lines = [["test error, %", *names, "mean", "kept"], ["---"] * (len(names) + 3)]
    lines += [[name, *row] for name, row in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    typer.run(main)
