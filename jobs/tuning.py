"""Effect of each change of the recipe, on images that no table uses.

    python jobs/tuning.py --data-root DIR --length 0.25 --only conv-64-4e-3 --only conv-32-4e-3

Every arm trains its cells of `mnist-validation-5` (MNIST's training images: 50,000 to learn from,
10,000 to test on, each distorted five ways) with two seeds, and is compared with the base on the
same images. Stored results are not trained again: repeating a stopped command resumes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ray_job import main
from tuning_arms import ALL, BASE, BY_NAME, CNN_RTS, DATASET, DISTORTIONS, IMAGES, SEEDS, Arm, Entry

from stn_cluster import UserError, load_results
from stn_cluster.cli.options import DataRootOption
from stn_cluster.cli.progress import follow
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.run_local import run_job
from stn_cluster.cluster.settings import make_settings
from stn_cluster.config_file import parse_config
from stn_cluster.data.datasets import load_dataset
from stn_cluster.errors import unknown
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.store import Store, read_classes


def tuning(
    store: Annotated[Path, typer.Option(help="Result store.")] = Path("results/tuning"),
    only: Annotated[
        list[str] | None, typer.Option(help="An arm; repeatable. Default: all.")
    ] = None,
    upon: Annotated[
        list[str] | None, typer.Option(help="An arm that becomes part of the base; repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only cells of this model; repeatable.")
    ] = None,
    distortion: Annotated[
        list[str] | None, typer.Option(help="Only cells of this distortion; repeatable.")
    ] = None,
    length: Annotated[float, typer.Option(min=0.0001, help="Part of the final steps.")] = 1.0,
    data_root: DataRootOption = None,
    workers: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Train the missing cells, arm by arm; after each, write the table of all results in STORE."""
    within = tuple(known("model", name, IMAGES) for name in model or ())
    within += tuple(known("distortion", name, DISTORTIONS) for name in distortion or ())
    trial = Trial(tuple(map(arm_named, upon or ())), length, within)
    chosen = [arm_named(name) for name in only or BY_NAME]
    chosen = [arm for arm in chosen if arm not in trial.upon and trial.panel(arm)]
    labels = load_dataset(DATASET, data_root).test_labels.numpy()
    settings = make_settings(store, data_root=data_root, workers=workers)
    for arm in chosen:
        cells = trial.config(trial.reference(arm))
        cells += [cell for cell in trial.config(arm) if cell not in cells]
        job = grid_job({"name": "tuning", "cells": cells}, data_root=data_root)
        follow(run_job(job, settings), interrupted="run the same command again to resume")
        rows = table(trial, store, labels)
        (store / f"table-{trial.name}.md").write_text(caption(trial) + as_markdown(rows))
        typer.echo(f"{arm.name}: {' | '.join(rows.get(arm.name, ['failed: see the store']))}")


def arm_named(name: str) -> Arm:
    """Arm with this name.

    Raises:
        UserError: there is none.
    """
    return BY_NAME[known("arm", name, BY_NAME)]


def known(what: str, name: str, names: Collection[str]) -> str:
    """The name.

    Raises:
        UserError: it is none of the names.
    """
    if name not in names:
        raise UserError(unknown(what, name, names))
    return name


@dataclass(frozen=True)
class Trial:
    """Base of all arms of a table: the arms that were kept; a length; and which cells."""

    upon: tuple[Arm, ...]
    length: float
    within: tuple[str, ...] = ()  # models and distortions; none of a kind: all of it

    @property
    def name(self) -> str:
        """Name of its table."""
        return "-".join((f"{self.length:g}", *(arm.name for arm in self.upon), *self.within))

    def panel(self, arm: Arm) -> tuple[Entry, ...]:
        """Cells of an arm, without their seeds."""
        kinds = (set(kind).intersection(self.within) or set(kind) for kind in (IMAGES, DISTORTIONS))
        models, distortions = kinds
        return tuple(entry for entry in arm.panel if entry[0] in models and entry[2] in distortions)

    def reference(self, arm: Arm) -> Arm:
        """Arm that an arm is compared with, on the same panel."""
        other = BY_NAME[arm.against] if arm.against else Arm("base", ())
        return Arm(other.name, arm.panel, other.fields, other.images)

    def config(self, arm: Arm) -> list[dict[str, Any]]:
        """Cells of an arm in the order of its config, seeds innermost."""
        return [
            {
                **dict(zip(("model", "transform", "distortion"), entry, strict=True)),
                "seed": seed,
                "dataset": DATASET,
                "recipe": {"name": "fast", **self.recipe(arm, entry[0])},
            }
            for entry in self.panel(arm)
            for seed in SEEDS
        ]

    def keys(self, arm: Arm) -> list[str]:
        """Keys of an arm's cells."""
        return [cell.key for cell in resolve(parse_config({"cells": self.config(arm)}))]

    def recipe(self, arm: Arm, model: str) -> dict[str, Any]:
        """All recipe fields of an arm's cells of a model."""
        kept = [a for a in self.upon if any(model == entry[0] for entry in a.panel)]
        fields, images = dict(BASE), IMAGES[model]
        for part in (*kept, arm):
            fields |= part.fields
            images = part.images or images
        steps = max(1, round(self.length * images / fields["batch_size"]))
        return Recipe.model_validate(fields | {"iterations": steps}).model_dump(mode="json")


def table(trial: Trial, store: Path, labels: np.ndarray) -> dict[str, list[str]]:
    """Rows by arm, of those whose cells are all in the store."""
    arms = BY_NAME.values()
    keys = {arm.name: [trial.keys(part) for part in (trial.reference(arm), arm)] for arm in arms}
    every = {key for pair in keys.values() for part in pair for key in part}
    newest = load_results(store, key=sorted(every), status="succeeded")
    found = read_classes(Store.open(store), newest["attempt"])
    wrong = {  # by key, of each base image: the part of its distortions, in percent
        key: 100 * (np.reshape(found[attempt][1], (-1, len(labels))) != labels).mean(0)
        for key, attempt in zip(newest["key"], newest["attempt"], strict=True)
        if attempt in found
    }
    rows = {"base": base_row(trial, wrong)}
    for arm in arms:
        pair = keys[arm.name]
        panel = () if arm in trial.upon else trial.panel(arm)
        if panel and all(key in wrong for part in pair for key in part):
            shape = len(panel), len(SEEDS), -1
            before, after = (np.stack([wrong[key] for key in part]).reshape(shape) for part in pair)
            rows[arm.name] = row(arm, panel, before, after)
    return rows


def base_row(trial: Trial, wrong: Mapping[str, np.ndarray]) -> list[str]:
    """Errors of the base, for the cells in the store."""
    entries = trial.panel(Arm("base", (*ALL, CNN_RTS)))
    keys = np.reshape(trial.keys(Arm("base", entries)), (len(entries), len(SEEDS)))
    shown = dict.fromkeys(map(title, (*ALL, CNN_RTS)), "")
    for entry, of_entry in zip(entries, keys.tolist(), strict=True):
        if set(of_entry) <= set(wrong):
            shown[title(entry)] = f"{np.mean([wrong[key] for key in of_entry]):.2f}"
    return ["base", "", *shown.values(), "", "", "", ""]


def row(arm: Arm, panel: Sequence[Entry], before: np.ndarray, after: np.ndarray) -> list[str]:
    """Errors of the panel, with what has changed; their mean; and whether the arm is kept."""
    shown = dict.fromkeys(map(title, (*ALL, CNN_RTS)), "")
    for entry, old, new in zip(panel, before, after, strict=True):
        change, error = difference(old[None], new[None])
        shown[title(entry)] = f"{new.mean():.2f} ({change:+.2f} ± {error:.2f})"
    change, error = difference(before, after)
    summary = [f"{after.mean():.2f}", f"{change:+.3f}", f"{error:.3f}"]
    kept = "yes" if change < -2 * error else "no"
    return [arm.name, arm.against or "base", *shown.values(), *summary, kept]


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """The mean of after - before, (cells, seeds, base images) each, and its standard error.

    Images and seeds are both drawn: the error has the variance between base images, over cells and
    seeds, and that between seeds, over cells; what both have in common is counted twice.
    """
    change = after - before
    cells, seeds, images = change.shape
    by_image = change.mean((0, 1)).var(ddof=1) / images
    by_seed = change.mean(2).var(1, ddof=1).sum() / (seeds * cells**2)
    return float(change.mean()), float(np.sqrt(by_image + by_seed))


def title(entry: Entry) -> str:
    """Name of a network and distortion: 'ST-CNN affine R'."""
    return " ".join(part for part in entry if part != "none")


def caption(trial: Trial) -> str:
    """Title of the table."""
    base = " + ".join(["the recipe as it began", *(arm.name for arm in trial.upon)])
    return (
        f"Test error in percent on {DATASET}, mean of seeds {' and '.join(map(str, SEEDS))}, at "
        f"{trial.length:g} of the full length; in brackets the difference to what an arm is "
        "compared with, on the same images and seeds, and its standard error (over base images "
        f"and seeds). An arm is kept where its mean is lower by two of them. The base: {base}.\n\n"
    )


def as_markdown(rows: Mapping[str, Sequence[str]]) -> str:
    """The table with one row per arm."""
    names = ["arm", "against", *map(title, (*ALL, CNN_RTS)), "mean", "difference", "s.e.", "kept"]
    lines = [names, ["---"] * len(names), *rows.values()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main(tuning)
