"""Jobs from a grid config, or from filters of cells to train again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import StoreError, UserError
from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.paths import user_path
from stn_cluster.queue.jobs import Job, new_job_id
from stn_cluster.registry import (
    found_dataset,
    left_out,
    load_plugins,
    loading,
    lookup,
    resolve,
    with_present_name,
    with_present_weights,
)

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
    root = user_path(data_root) if data_root else None
    present = cache(partial(_present, folders=tuple(folders), data_root=root))
    cells = {}
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            cell = with_present_weights(_with_present_revisions(stored, present), root)
        except ValidationError as error:
            raise StoreError(f"{uri}: the spec of {label} cannot be read: {error}") from error
        cells[cell.key] = cell
    return list(cells.values())


_Components = tuple[tuple[str, str], ...]  # kind and name of each
_Revisions = tuple[tuple[str, int | str], ...]


def _with_present_revisions(
    cell: Cell,
    present: Callable[
        [_Components, str, tuple[str, ...], _Revisions], tuple[_Revisions, DatasetInfo]
    ],
) -> Cell:
    """Copy of a cell with its components' present revisions, as their code may have changed."""
    components = (
        ("model", cell.architecture),
        ("transform", cell.transform),
        ("distortion", cell.distortion_name),
    )
    stored = tuple(sorted(cell.revisions.items()))
    try:
        revisions, info = present(components, cell.dataset, cell.plugins, stored)
    except UserError as error:
        raise UserError(f"{cell.label}: {error}") from None
    if info.frame != cell.data.frame:  # its canvas is another one, too
        raise UserError(
            f"{cell.label}: data set {cell.dataset!r} had images of {cell.data.frame} pixels, and "
            f"has some of {info.frame} now: run its config again"
        )
    return cell.model_copy(update={"revisions": dict(revisions), "data": info})


def _present(
    components: _Components,
    dataset: str,
    plugins: tuple[str, ...],
    stored: _Revisions,
    folders: Sequence[Path],
    data_root: Path | None,
) -> tuple[_Revisions, DatasetInfo]:
    """Present revisions of components, and what the data set's images are.

    Plug-ins are searched in the folders of the configs that named them, as well.

    Raises:
        UserError: one of them does not exist any more; or several folders have plug-ins of this
            name, and none is as it was.
    """
    several: dict[_Revisions, tuple[Path | None, DatasetInfo]] = {}
    errors: list[UserError] = []
    for folder in (folders if plugins else ()) or (None,):
        try:
            with loading:
                load_plugins(plugins, [folder] if folder else [])
                entries = [lookup(kind, name) for kind, name in components]  # type: ignore[arg-type]
                data = found_dataset(dataset, data_root)
        except UserError as error:  # other jobs' configs need not have these plug-ins
            errors.append(error)
            continue
        present = {f"{e.kind}:{e.name}": e.revision for e in entries}
        revisions = tuple(sorted((present | {f"dataset:{dataset}": data.revision}).items()))
        if revisions == stored:
            return revisions, data.info
        several.setdefault(revisions, (folder, data.info))
    if not several:
        raise errors[0]
    if len(several) > 1:
        raise UserError(
            f"{', '.join(plugins)}: has changed since, and there are several of this name "
            f"({', '.join(str(folder) for folder, _ in several.values())}); run the config that is "
            "meant"
        )
    [(revisions, (_, info))] = several.items()
    return revisions, info
