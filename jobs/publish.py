"""Copies what a run has finished into a store that is published, and writes its manifest.

python jobs/publish.py configs/mnist.yaml --from STORE --into results/mnist --weights-of 0

At each stop of a long run: rows that the published store has already are left as they are. With the
cells come the evaluations that the run's store has of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import manifest
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import typer

from stn_cluster import load_results
from stn_cluster.config_file import load_config
from stn_cluster.inference.export_models import export_model
from stn_cluster.registry import resolve
from stn_cluster.store import Kind, Store

# The row in `cells` comes last: it is what makes a result.
OF_ATTEMPTS: tuple[Kind, ...] = ("curves", "predictions", "cells")


def main(
    config: Annotated[Path, typer.Argument(help="YAML file: what is run.")],
    source: Annotated[Path, typer.Option("--from", help="Store of the run.")],
    into: Annotated[Path, typer.Option("--into", help="Store that is published.")],
    weights_of: Annotated[
        list[int] | None, typer.Option(help="A seed, whose weights are published; repeatable.")
    ] = None,
) -> None:
    """Publish the config's results that STORE has and the other store has not."""
    keys = [cell.key for cell in resolve(load_config(config))]
    run = Store.open(source)
    published = Store.open(into, create=not Store.is_at(into))
    finished = load_results(run, key=keys, status="succeeded")
    known = load_results(published, key=keys, status="succeeded")
    new = finished[~finished["key"].isin(known["key"])]
    if new.empty and known.empty:
        raise typer.BadParameter(f"{source} has no result of {config}", param_hint="--from")
    copy_rows(run, published, list(new["attempt"]))
    rows = pd.concat([known, new])
    copy_weights(run, published, into, rows[rows["seed"].isin(weights_of or ())])
    evaluations = copy_evaluations(run, published, list(rows["attempt"]))
    manifest.main(config, into)
    typer.echo(
        f"{len(new)} cells and {evaluations} evaluations added, "
        f"{len(known)} cells were there, {len(keys)} are in {config}"
    )


def copy_rows(run: Store, published: Store, attempts: list[str]) -> None:
    """Adds the rows of attempts, of all kinds, and the test sets that they name.

    Those of a kind that are there are left out, as of a call that did not come to its end.
    """
    rows = {}
    for kind in OF_ATTEMPTS:
        there = set(published.read(kind, ["attempt"])["attempt"].to_pylist())
        rows[kind] = matching(run, kind, "attempt", [a for a in attempts if a not in there])
    copy_test_sets(run, published, rows["predictions"]["test_set"])
    for kind, table in rows.items():
        add(published, kind, table)


def copy_weights(run: Store, published: Store, into: Path, rows: pd.DataFrame) -> None:
    """Adds the weights of cells that the other store lacks."""
    for row in rows.itertuples():
        if published.weights.has(row.key):
            continue
        with tempfile.TemporaryDirectory(dir=into) as folder:  # no half of a file is published
            weights, _ = export_model(run, row.key, Path(folder), attempt=row.attempt)
            (into / "weights").mkdir(exist_ok=True)
            weights.replace(into / "weights" / weights.name)


def copy_evaluations(run: Store, published: Store, attempts: list[str]) -> int:
    """Adds the succeeded evaluations of attempts that the other store lacks: number of them."""
    rows = matching(run, "evaluations", "attempt", attempts)
    rows = rows.filter(pc.equal(rows["status"], "succeeded"))
    there = published.read("evaluations", ["evaluation", "attempt"])
    new = rows.filter(pc.invert(pc.is_in(_named(rows), _named(there))))
    copy_test_sets(run, published, new["test_set"])
    add(published, "evaluations", new)
    return len(new)


def copy_test_sets(run: Store, published: Store, names: pa.ChunkedArray) -> None:
    """Adds the test sets of these names that the other store lacks."""
    there = published.read("test_sets", ["test_set"])["test_set"]
    lacking = pc.unique(names).filter(pc.invert(pc.is_in(pc.unique(names), there.combine_chunks())))
    add(published, "test_sets", matching(run, "test_sets", "test_set", lacking.to_pylist()))


def _named(rows: pa.Table) -> pa.Array:
    """Names of evaluations: those of a cell that was trained anew are others."""
    return pc.binary_join_element_wise(rows["evaluation"], rows["attempt"], "/").combine_chunks()


def add(published: Store, kind: Kind, rows: pa.Table) -> None:
    """Adds rows, if there are any."""
    if len(rows):
        published.add(kind, rows.to_pylist())


def matching(store: Store, kind: Kind, column: str, values: list[str]) -> pa.Table:
    """Rows of a kind with one of these values."""
    rows = store.read(kind)
    return rows.filter(pc.is_in(rows[column], pa.array(values, pa.string())))


if __name__ == "__main__":
    typer.run(main)
