"""Jobs from what users name: a grid config, or filters of cells to train anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell, GridConfig
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
    """The job of all cells that a config asks for.

    Args:
        config: a YAML file, its fields as a dict, or a `GridConfig`.
        overrides: 'FIELD=VALUE', for a file.
        job_id: its id; default: the config's name and the time.
        force: train anew what the store already holds.
        priority: the larger, the sooner.

    Raises:
        UserError: a rule of the grid is broken; the message names the file and the field.
    """
    folder = None
    if isinstance(config, str | Path):
        source, folder = str(config), Path(config).parent
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
    """The job that trains all matching cells of a store and of its jobs anew.

    Its cells are in the order of their keys: asked for twice, it is the same job, whatever has
    ended meanwhile.

    Args:
        store: the store, or where it is.
        filters: see `stn_cluster.load_results`.
        job_id: its id; default: a new one.
        priority: the larger, the sooner.

    Raises:
        UserError: no cell matches, or a component of one is no longer there.
        StoreError: there is no store, or it cannot be read.
    """
    cells = sorted(cells_to_rerun(store, filters), key=lambda cell: cell.key)
    return Job(job_id or new_job_id("rerun"), tuple(cells), force=True, priority=priority)


def cells_to_rerun(store: str | Store, filters: Mapping[str, Any]) -> list[Cell]:
    """The cells of a store and of its jobs that match all filters, as present code trains them.

    Raises:
        UserError, StoreError: see `rerun_job`.
    """
    import pandas as pd

    from stn_cluster.store import FILTERS, Store, load_results, redact, select

    opened = store if isinstance(store, Store) else Store.open(store)
    place = redact(opened.uri)
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
        raise UserError(f"{place}: no cell has been submitted here, so there is none to rerun")
    folders = dict.fromkeys(Path(job["folder"]) for job in opened.jobs() if job.get("folder"))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            cell = _at_present(stored, list(folders))
        except ValidationError as error:
            raise StoreError(f"{place}: the spec of {label} cannot be read: {error}") from error
        cells[cell.key] = cell
    return list(cells.values())


def _at_present(cell: Cell, folders: Sequence[Path]) -> Cell:
    """The cell with its components' present revisions: their code may have changed since.

    Plug-ins are looked for in the folders of the configs that named them, too.
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
