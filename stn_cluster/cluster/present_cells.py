"""Stored cells as they would be trained now: with their components' present revisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stn_cluster.dataset_info import DatasetInfo
from stn_cluster.errors import StoreError, UserError
from stn_cluster.grid import Cell
from stn_cluster.paths import user_path
from stn_cluster.registry import (
    found_dataset,
    load_plugins,
    loading,
    lookup,
    with_present_name,
    with_present_weights,
)

if TYPE_CHECKING:
    from stn_cluster.store import Store


def present_cells(store: Store, data_root: str | Path | None = None) -> Callable[[str, str], Cell]:
    """Makes the function that gives a cell as it would be trained now.

    Its key differs from the stored one if a component, a data set or a file of weights has changed
    since. Plug-ins are searched in the folders of the store's jobs, as well.

    Args:
        store: the store.
        data_root: folder of the data sets' files.

    Returns:
        A function of the cell's label and its spec, as in `cells`. It raises UserError if a
        component does not exist any more, StoreError if the spec cannot be read.
    """
    folders = dict.fromkeys(Path(job["folder"]) for job in store.jobs() if job.get("folder"))
    root = user_path(data_root) if data_root else None
    present = cache(partial(_present, folders=tuple(folders), data_root=root))

    def cell_now(label: str, spec: str) -> Cell:
        try:
            stored = with_present_name(Cell.model_validate_json(spec))
            return with_present_weights(_with_present_revisions(stored, present), root)
        except ValidationError as error:
            raise StoreError(
                f"{store.name}: the spec of {label} cannot be read: {error}"
            ) from error

    return cell_now


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
