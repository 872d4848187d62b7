"""Jobs from a grid config, or from filters of cells to train again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.present_cells import present_cells
from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import UserError
from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.paths import user_path
from stn_cluster.queue.jobs import Job, new_job_id
from stn_cluster.registry import left_out, resolve

if TYPE_CHECKING:
    from stn_cluster.store import Store


def grid_job(
    config: GridConfig | dict[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    data_root: str | Path | None = None,
    job_id: str | None = None,
    force: bool = False,
    priority: int = 0,
    store: str | Path | Store | None = None,
) -> Job:
    """Makes the job of all cells of a config, and of their evaluations.

    Args:
        config: a YAML file, its fields as a dict, or a `GridConfig`.
        overrides: 'FIELD=VALUE', for a file.
        data_root: folder of the data sets' files.
        job_id: id of the job; default: the config's name and the time.
        force: train cells again that the store already has.
        priority: jobs with a higher priority go first.
        store: whose cells are evaluated, if the config says so; default: results/<its name>.

    Raises:
        UserError: a rule of the grid is broken; the message names the file and the field.
        StoreError: there is no such store.
    """
    folder = None
    if isinstance(config, str | Path):
        config = user_path(config)
        source, folder = str(config), config.parent
        config = load_config(config, overrides)
    elif not isinstance(config, GridConfig):
        config = parse_config(config)
        source = config.name
    else:
        source = config.name
    root = user_path(data_root) if data_root else None
    cells = tuple(resolve(config, root, source=source, folder=folder))
    return Job(
        job_id=job_id or new_job_id(config.name),
        cells=cells,
        evaluations=config_evaluations(config, cells, store, root),
        name=config.name,
        config=config.model_dump_json(exclude_defaults=True),
        folder=str(folder.resolve()) if folder else None,
        force=force,
        priority=priority,
        left_out=left_out(config),
    )


def config_evaluations(
    config: GridConfig,
    cells: Sequence[Cell],
    store: str | Path | Store | None,
    data_root: Path | None,
) -> tuple[Evaluation, ...]:
    """Evaluations that a config asks for, of its cells or of those of a store.

    Raises:
        UserError, StoreError: see `grid_job`.
    """
    if config.evaluate is None:
        return ()
    from stn_cluster.cluster.make_evaluations import evaluations_of, stored_cells
    from stn_cluster.store import Store

    if not config.trains:
        place = store or Path("results") / config.name
        opened = place if isinstance(place, Store) else Store.open(place)
        cells = stored_cells(opened, config.evaluate.filters)
    return evaluations_of(cells, config.evaluate, data_root)


def rerun_job(
    store: str | Store,
    filters: Mapping[str, Any],
    *,
    data_root: str | Path | None = None,
    job_id: str | None = None,
    priority: int = 0,
) -> Job:
    """Makes the job that trains again all matching cells of a store and of its jobs.

    Its cells are sorted by key, so that repeating the call gives the same job, even if cells have
    ended meanwhile.

    Args:
        store: the store, or its path or URI.
        filters: see `stn_cluster.load_results`.
        data_root: folder of the data sets' files.
        job_id: id of the job; default: a new one.
        priority: jobs with a higher priority go first.

    Raises:
        UserError: no cell matches, or a component of one does not exist any more.
        StoreError: there is no store, or it cannot be read.
    """
    cells = sorted(cells_to_rerun(store, filters, data_root), key=lambda cell: cell.key)
    return Job(job_id or new_job_id("rerun"), tuple(cells), force=True, priority=priority)


def cells_to_rerun(
    store: str | Store, filters: Mapping[str, Any], data_root: str | Path | None = None
) -> list[Cell]:
    """Cells of a store and of its jobs that match all filters, with present revisions.

    Raises:
        UserError, StoreError: see `rerun_job`.
    """
    import pandas as pd

    from stn_cluster.store import FILTERS, Store, load_results, select

    opened = store if isinstance(store, Store) else Store.open(store)
    rows = load_results(opened, columns=[*FILTERS, "label", "spec"])
    ended = set(rows["key"])
    waiting = [
        {name: getattr(cell, name, None) for name in rows.columns}
        | {"spec": cell.model_dump_json()}
        for cell in opened.submitted()
        if cell.key not in ended
    ]
    rows = pd.concat([rows, pd.DataFrame(waiting, columns=rows.columns).astype(rows.dtypes)])
    if rows.empty:
        raise UserError(
            f"{opened.name}: no cell has been submitted here, so there is none to rerun"
        )
    cell_now = present_cells(opened, data_root)
    chosen = select(rows, filters)[["label", "spec"]]
    cells = [cell_now(label, spec) for label, spec in chosen.itertuples(index=False)]
    return list({cell.key: cell for cell in cells}.values())
