"""Jobs from a grid config, or from filters of cells to train again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.paths import user_path
from stn_cluster.queue.jobs import Job, new_job_id
from stn_cluster.registry import load_plugins, lookup, resolve, with_present_name

if TYPE_CHECKING:
    from stn_cluster.store import Store


def grid_job(
    config: GridConfig | dict[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    job_id: str | None = None,
    force: bool = False,
    priority: int = 0,
) -> Job:
    """Makes the job of all cells of a config.

    Args:
        config: a YAML file, its fields as a dict, or a `GridConfig`.
        overrides: 'FIELD=VALUE', for a file.
        job_id: id of the job; default: the config's name and the time.
        force: train cells again that the store already has.
        priority: jobs with a higher priority go first.

    Raises:
        UserError: a rule of the grid is broken; the message names the file and the field.
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
    return Job(
        job_id=job_id or new_job_id(config.name),
        cells=tuple(resolve(config, source=source, folder=folder)),
        name=config.name,
        config=config.model_dump_json(exclude_defaults=True),
        folder=str(folder.resolve()) if folder else None,
        force=force,
        priority=priority,
    )


def rerun_job(
    store: str | Store,
    filters: Mapping[str, Any],
    *,
    job_id: str | None = None,
    priority: int = 0,
) -> Job:
    """Makes the job that trains again all matching cells of a store and of its jobs.

    Its cells are sorted by key, so that repeating the call gives the same job, even if cells have
    ended meanwhile.

    Args:
        store: the store, or its path or URI.
        filters: see `stn_cluster.load_results`.
        job_id: id of the job; default: a new one.
        priority: jobs with a higher priority go first.

    Raises:
        UserError: no cell matches, or a component of one does not exist any more.
        StoreError: there is no store, or it cannot be read.
    """
    cells = sorted(cells_to_rerun(store, filters), key=lambda cell: cell.key)
    return Job(job_id or new_job_id("rerun"), tuple(cells), force=True, priority=priority)


def cells_to_rerun(store: str | Store, filters: Mapping[str, Any]) -> list[Cell]:
    """Cells of a store and of its jobs that match all filters, with present revisions.

    Raises:
        UserError, StoreError: see `rerun_job`.
    """
    import pandas as pd

    from stn_cluster.store import FILTERS, Store, load_results, redact, select

    opened = store if isinstance(store, Store) else Store.open(store)
    uri = redact(opened.uri)
    rows = load_results(opened)[[*FILTERS, "label", "spec"]]
    ended = set(rows["key"])
    waiting = [
        {name: getattr(cell, name, None) for name in rows.columns}
        | {"spec": cell.model_dump_json()}
        for cell in opened.submitted()
        if cell.key not in ended
    ]
    rows = pd.concat([rows, pd.DataFrame(waiting, columns=rows.columns).astype(rows.dtypes)])
    if rows.empty:
        raise UserError(f"{uri}: no cell has been submitted here, so there is none to rerun")
    folders = dict.fromkeys(Path(job["folder"]) for job in opened.jobs() if job.get("folder"))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            cell = _with_present_revisions(stored, list(folders))
        except ValidationError as error:
            raise StoreError(f"{uri}: the spec of {label} cannot be read: {error}") from error
        cells[cell.key] = cell
    return list(cells.values())


def _with_present_revisions(cell: Cell, folders: Sequence[Path]) -> Cell:
    """Copy of a cell with its components' present revisions, as their code may have changed.

    Plug-ins are also searched in the folders of the configs that named them.
    """
    load_plugins(cell.plugins, folders)
    try:
        entries = [
            lookup("model", cell.model),
            lookup("transform", cell.transform),
            lookup("distortion", cell.distortion_name),
            lookup("dataset", cell.dataset),
        ]
    except UserError as error:
        raise UserError(f"{cell.label}: {error}") from None
    revisions = {f"{entry.kind}:{entry.name}": entry.revision for entry in entries}
    return cell.model_copy(update={"revisions": revisions})
