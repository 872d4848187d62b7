"""Makes a store that has grown: very many rows of `cells`, as years of grids would leave them.

Each cell has a real spec, made of resolved cells; numbers and confusion matrices are drawn. One row
in ten is a second attempt at a cell; one in fifty failed. Rows are in the order in which jobs end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import harness  # noqa: F401
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.store import CELLS, SCHEMA_VERSION, Store

DATASETS = ("mnist", "digits")
RECIPES = 100  # of each data set, a job each
AGAIN, FAILED = 10, 50  # one row in so many
CLASSES, IMAGES = 10, 10_000
BLOCK = 50_000  # rows that are made at once
FIRST = np.datetime64("2026-01-01", "us")
TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/opt/stn_cluster/training/part_{n}.py", line {40 + n}, in step\n    return call(n)\n'
    for n in range(12)
)


def make_store(folder: Path, rows: int, files: int, seed: int = 0) -> None:
    """Makes a store with `rows` rows of `cells` in `files` files of the same size."""
    store = Store.open(folder, create=True)
    assert store.local_path is not None
    size = -(-rows // files)
    made, waiting, number = 0, CELLS.empty_table(), 0
    for block in _blocks(rows, np.random.default_rng(seed)):
        made += len(block)
        waiting = pa.concat_tables([waiting, block])
        while len(waiting) >= size or (made == rows and len(waiting)):
            path = store.local_path / "cells" / f"20260101T{number:012d}-0badcafe.parquet"
            pq.write_table(waiting.slice(0, size).combine_chunks(), path, compression="zstd")
            waiting, number = waiting.slice(size), number + 1


def _templates() -> list[Cell]:
    """Cells of the grid, with one seed, in every recipe of every data set."""
    cells = []
    for dataset in DATASETS:
        grid = resolve(parse_config({"dataset": dataset, "recipe": "fast"}))
        for number in range(RECIPES):
            rate = round(0.001 + 0.0001 * number, 4)
            recipe = f"fast+{number:04x}"
            for cell in grid:
                settings = {**cell.settings, "learning_rate": rate}
                cells.append(cell.model_copy(update={"recipe": recipe, "settings": settings}))
    return cells


def _blocks(rows: int, rng: np.random.Generator) -> Iterator[pa.Table]:
    templates = _templates()
    per_job = len(templates) // (len(DATASETS) * RECIPES)
    names = {
        name: np.array([str(getattr(cell, name)) for cell in templates], object)
        for name in ("model", "transform", "distortion", "dataset", "recipe")
    }
    specs = [cell.model_dump_json().split('"seed":0', 1) for cell in templates]
    distinct = rows - rows // AGAIN
    numbers = rng.integers(1, 2**63, distinct)
    keys = np.array([f"{n:016x}" for n in numbers], object)
    # Cell n is template n mod len(templates), with seed n div len(templates); a job is all seeds of
    # a recipe, and within it cells end in any order.
    n = np.arange(distinct)
    order = np.lexsort((rng.random(distinct), n % len(templates) // per_job))
    again = rng.choice(distinct, rows - distinct, replace=False)
    order = np.concatenate([order, again])
    for begin in range(0, rows, BLOCK):
        chosen = order[begin : begin + BLOCK]
        count = len(chosen)
        template, cell_seed = chosen % len(templates), chosen // len(templates)
        failed = rng.integers(0, FAILED, count) == 0
        wrong = rng.poisson(np.where(template % 4 == 0, 90, 250)).astype(np.int64)
        matrices = rng.poisson(wrong[:, None] / 90, (count, CLASSES * CLASSES)).astype(np.int32)
        matrices[:, :: CLASSES + 1] = 0
        totals = matrices.reshape(count, CLASSES, CLASSES).sum(2)
        matrices[:, :: CLASSES + 1] = IMAGES // CLASSES - totals
        wrong = totals.sum(1)
        confusion = pa.FixedSizeListArray.from_arrays(pa.array(matrices.ravel()), CLASSES**2)
        confusion = confusion.cast(pa.list_(pa.int32()))
        seconds = rng.gamma(20, 20, count)
        loss = rng.gamma(2, 0.05, count).astype(np.float32).astype(float)
        accepted = FIRST + np.arange(begin, begin + count) * np.timedelta64(1_234_567, "us")
        ok = {"mask": failed}
        columns = {name: values[template] for name, values in names.items()}
        label = [
            f"{m}/{t}/{d}/seed{s}"
            for m, t, d, s in zip(
                *(columns[name] for name in ("model", "transform", "distortion")),
                cell_seed,
                strict=True,
            )
        ]
        attempts = rng.integers(0, 2**62, (count, 2))
        made = {
            **{name: pa.array(values, pa.string()) for name, values in columns.items()},
            "key": pa.array(keys[chosen], pa.string()),
            "label": pa.array(label, pa.string()),
            "seed": pa.array(cell_seed),
            "job_id": pa.array([f"grid-{t // per_job:06d}" for t in template]),
            "attempt": pa.array([f"{a:016x}{b:016x}" for a, b in attempts]),
            "status": pa.array(np.where(failed, "failed", "succeeded").astype(object)),
            "error": pa.array([f"{TRACEBACK}ValueError: {i}" for i in range(count)], mask=~failed),
            "test_error": pa.array(100 * wrong / IMAGES, **ok),
            "test_accuracy": pa.array(1 - wrong / IMAGES, **ok),
            "n_test": pa.array(np.full(count, IMAGES), **ok),
            "n_wrong": pa.array(wrong.astype(np.int64), **ok),
            "train_loss": pa.array(loss, **ok),
            "parameters": pa.array(60_000 + template % per_job * 37, **ok),
            "iterations": pa.array(np.full(count, 11_000), **ok),
            "images_per_second": pa.array(11_000 * 128 / seconds, **ok),
            "train_seconds": pa.array(seconds, **ok),
            "pack_size": pa.array(np.full(count, 4)),
            "device": pa.array(["AMD EPYC, AVX512, 1 thread"] * count),
            "host": pa.array([f"node{t % 16}" for t in template]),
            "started_at": pa.array(accepted - (seconds * 1e6).astype("timedelta64[us]")),
            "finished_at": pa.array(accepted - np.timedelta64(7_890, "us")),
            "accepted_at": pa.array(accepted),
            "stn_cluster_version": pa.array(["0.1.0"] * count),
            "git_commit": pa.array(["1756395bc64b8d79ef88ca55c64fb5be8e9a69dd"] * count),
            "torch_version": pa.array(["2.15.0+cu132"] * count),
            "spec": pa.array(
                [f'"seed":{s}'.join(specs[t]) for t, s in zip(template, cell_seed, strict=True)]
            ),
            "schema_version": pa.array(np.full(count, SCHEMA_VERSION, np.int32)),
            "confusion": confusion.take(pa.array(np.arange(count), mask=failed)),
        }
        yield pa.table([made[f.name].cast(f.type) for f in CELLS], schema=CELLS)
