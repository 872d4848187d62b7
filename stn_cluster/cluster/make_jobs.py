"""Jobs from a grid config, or from filters of cells to train again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.paths import user_path
from stn_cluster.queue.jobs import Job, new_job_id
from stn_cluster.registry import (
    left_out,
    load_plugins,
    loading,
    lookup,
    resolve,
    with_present_name,
)

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
    cells = tuple(resolve(config, source=source, folder=folder))
    return Job(
        job_id=job_id or new_job_id(config.name),
        cells=cells,
        name=config.name,
        config=config.model_dump_json(exclude_defaults=True),
        folder=str(folder.resolve()) if folder else None,
        force=force,
        priority=priority,
        left_out=left_out(config),
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
    present = lru_cache(maxsize=None)(partial(_present_revisions, folders=tuple(folders)))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            cell = _with_present_revisions(stored, present)
        except ValidationError as error:
            raise StoreError(f"{uri}: the spec of {label} cannot be read: {error}") from error
        cells[cell.key] = cell
    return list(cells.values())


_Components = tuple[tuple[str, str], ...]  # kind and name of each
_Revisions = tuple[tuple[str, int | str], ...]


def _with_present_revisions(
    cell: Cell, present: Callable[[_Components, tuple[str, ...], _Revisions], _Revisions]
) -> Cell:
    """Copy of a cell with its components' present revisions, as their code may have changed."""
    components = (
        ("model", cell.model),
        ("transform", cell.transform),
        ("distortion", cell.distortion_name),
        ("dataset", cell.dataset),
    )
    try:
        revisions = present(components, cell.plugins, tuple(sorted(cell.revisions.items())))
    except UserError as error:
        raise UserError(f"{cell.label}: {error}") from None
    return cell.model_copy(update={"revisions": dict(revisions)})


def _present_revisions(
    components: _Components,
    plugins: tuple[str, ...],
    stored: _Revisions,
    folders: Sequence[Path] = (),
) -> _Revisions:
    """Present revisions of components; plug-ins are searched in the folders of the configs that
    named them, as well.

    Raises:
        UserError: one of them does not exist any more; or several folders have plug-ins of this
            name, and none is as it was.
    """
    found: dict[_Revisions, Path | None] = {}
    errors: list[UserError] = []
    for folder in (folders if plugins else ()) or (None,):
        try:
            with loading:
                load_plugins(plugins, [folder] if folder else [])
                entries = [lookup(kind, name) for kind, name in components]  # type: ignore[arg-type]
        except UserError as error:  # other jobs' configs need not have these plug-ins
            errors.append(error)
            continue
        revisions = tuple(sorted((f"{e.kind}:{e.name}", e.revision) for e in entries))
        if revisions == stored:
            return revisions
        found.setdefault(revisions, folder)
    if not found:
        raise errors[0]
    if len(found) > 1:
        raise UserError(
            f"{', '.join(plugins)}: has changed since, and there are several of this name "
            f"({', '.join(map(str, found.values()))}); run the config that is meant"
        )
    return next(iter(found))
