"""Trains cells of a store anew on the Ray cluster that it is submitted to, and prints their table.

ray job submit --working-dir . -- python jobs/rerun_cells.py --store /shared/results --model ST-CNN
"""

from __future__ import annotations

from ray_job import StoreOption, full_path, main, run_and_print

from stn_cluster.cli.options import (
    CheckpointOption,
    DataRootOption,
    Filters,
    IntoOption,
    PriorityOption,
    StateOption,
    ThreadsOption,
    filtered,
)
from stn_cluster.cluster.cluster_run import make_settings
from stn_cluster.cluster.history import cells_to_rerun
from stn_cluster.cluster.job import Job, new_job_id


@filtered
def rerun_cells(
    filters: Filters,
    store: StoreOption,
    into: IntoOption = None,
    state: StateOption = None,
    data_root: DataRootOption = None,
    priority: PriorityOption = 0,
    threads_per_worker: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
) -> None:
    """Train the cells that match all filters anew; their history is kept.

    Cells of a published store are trained into another.
    """
    source = full_path(store)
    settings = make_settings(
        source if into is None else full_path(into, "--into"),
        state,
        data_root,
        threads_per_worker=threads_per_worker,
        checkpoint_seconds=checkpoint_seconds,
    )
    cells = tuple(cells_to_rerun(source, filters))
    run_and_print(Job(new_job_id("rerun"), cells, force=True, priority=priority), settings)


if __name__ == "__main__":
    main(rerun_cells)
