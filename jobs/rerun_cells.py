"""Trains cells of a store again on the Ray cluster that it is submitted to; prints their table.

ray job submit --working-dir . -- python jobs/rerun_cells.py --store /shared/results --model ST-CNN
"""

from __future__ import annotations

from ray_job import StoreOption, full_path, main, run_and_print

from stn_cluster.cli.options import (
    Filters,
    IntoOption,
    MachineOptions,
    PriorityOption,
    filtered,
    with_machine,
)
from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.cluster.settings import make_settings


@with_machine
@filtered
def rerun_cells(
    filters: Filters,
    machine: MachineOptions,
    store: StoreOption,
    into: IntoOption = None,
    priority: PriorityOption = 0,
) -> None:
    """Train the cells that match all filters again; their history is kept.

    Cells of a published store need another store for the results.
    """
    source = full_path(store)
    settings = make_settings(source if into is None else full_path(into, "--into"), **machine)
    job = rerun_job(source, filters, data_root=settings.data_root, priority=priority)
    run_and_print(job, settings)


if __name__ == "__main__":
    main(rerun_cells)
