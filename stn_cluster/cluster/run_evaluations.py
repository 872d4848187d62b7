"""Evaluating trained cells of a store on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.run_local import run_shown
from stn_cluster.cluster.settings import make_settings
from stn_cluster.config_file import parse_config
from stn_cluster.evaluate_config import TEST_DISTORTIONS
from stn_cluster.grid import CELL_FILTERS
from stn_cluster.queue.jobs import JobStatus

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    store: str | Path,
    *,
    on: str | Sequence[str] = TEST_DISTORTIONS,
    severity: float | Sequence[float] = 1.0,
    worst_of: int = 1,
    dataset: str | None = None,
    progress: bool | None = None,
    watch: Callable[[JobStatus], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Tests trained cells of a store on other test sets, on this machine.

    What the store has already is not computed again. Nothing is trained, so the store may be a
    published one.

    Args:
        store: the result store's folder or URI.
        on: test distortions: 'clean', or as in a config, without a canvas, which is the cell's;
            with a severity of its own as in 'R@1.5'.
        severity: how strong the others are: 0 to 3, 1 as in training.
        worst_of: number of draws of each image, of which the worst one counts in rows of their own;
            1: no such rows.
        dataset: whose test images they are; None: those of each cell's data set.
        progress, watch: see `run_grid`.
        settings: recipe, model, transform, distortion, seed, key: only these cells, one value or
            several; others as in `run_grid`.

    Returns:
        Rows of `load_evaluations`: those that were asked for.

    Raises:
        UserError: no cell matches, a test set cannot be made, or weights are not here; nothing has
            been evaluated.
    """
    from stn_cluster.store import load_evaluations

    names = [name for name in CELL_FILTERS if name != "dataset"]
    filters = {name: settings.pop(name) for name in names if settings.get(name) is not None}
    wanted = {"on": on, "severity": severity, "worst_of": worst_of, "filters": filters}
    evaluation = {"of": "store", **wanted, "dataset": dataset}
    config = parse_config({"name": "evaluate", "evaluate": evaluation}, source="evaluate")
    job = grid_job(config, data_root=settings.get("data_root"), store=store)
    run_shown(job, make_settings(store, **settings), progress, watch)
    rows = load_evaluations(store)
    ids = [one.key for one in job.evaluations]
    return rows[rows["evaluation"].isin(ids)].reset_index(drop=True)
