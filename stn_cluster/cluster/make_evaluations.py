"""Evaluations that a config or a command asks for, of its cells or of those of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stn_cluster.errors import StoreError, UserError, within
from stn_cluster.evaluate_config import CLEAN, Evaluate
from stn_cluster.evaluation.evaluation_sets import clean_set, evaluation_set
from stn_cluster.evaluation.severities import DistortionAtSeverity, parse_test_distortion
from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell
from stn_cluster.inference.stored_cells import no_weights, training
from stn_cluster.paths import user_path
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.registry import (
    FoundDataset,
    found_dataset,
    load_plugins,
    loading,
    lookup,
    with_present_name,
)
from stn_cluster.store import FILTERS, Store, load_results, redact, select

MAX_EVALUATIONS = 200_000  # per job


def evaluations_of(
    cells: Sequence[Cell], wanted: Evaluate, data_root: str | Path | None = None
) -> tuple[Evaluation, ...]:
    """Evaluations of cells on all test sets that are asked for, cell by cell.

    `clean` comes once, whatever the severities; so does every test set that is asked for twice.

    Args:
        cells: the cells.
        wanted: the test sets.
        data_root: folder of the data sets' files.

    Raises:
        UserError: there is no such distortion or data set, or it does not fit a cell.
    """
    _check_count(len(wanted.on) * len(wanted.severity))  # before they are made
    with within("evaluate.on"):
        asked = test_distortions(wanted)
    draws = sorted({1, wanted.worst_of})
    _check_count(len(cells) * len(asked) * len(draws))
    dataset = None
    if wanted.dataset is not None:
        with within("evaluate.dataset"):
            dataset = found_dataset(wanted.dataset, user_path(data_root) if data_root else None)
    found: dict[str, Evaluation] = {}
    for cell in cells:
        base = cell if dataset is None else _on_dataset(cell, dataset)
        clean = clean_set(base).name
        for one, worst_of in product(asked, draws):
            test = evaluation_set(base, one, worst_of)
            is_clean = test.one_draw.name == clean
            on = CLEAN if is_clean else str(one)
            evaluation = Evaluation(cell=cell, test=test.one_draw if is_clean else test, on=on)
            found.setdefault(evaluation.key, evaluation)
    return tuple(found.values())


def _check_count(count: int) -> None:
    if count > MAX_EVALUATIONS:
        raise UserError(f"evaluate: {count:,} evaluations, at most {MAX_EVALUATIONS:,}", "evaluate")


def test_distortions(wanted: Evaluate) -> list[DistortionAtSeverity]:
    """The distortions, each at all severities unless it names its own.

    Raises:
        UserError: there is none of this name.
    """
    asked = {}
    for text, severity in product(wanted.on, wanted.severity):
        one = parse_test_distortion(text)
        if "@" not in text and one.name != CLEAN:
            one = DistortionAtSeverity(one.distortion, one.name, one.variant, severity)
        asked[str(one)] = one
    return list(asked.values())


def stored_cells(store: Store, filters: Mapping[Any, Any]) -> list[Cell]:
    """Cells of a store that have been trained and match all filters, in the table's order.

    Raises:
        UserError: none matches.
        StoreError: a row cannot be read.
    """
    rows = load_results(store, columns=[*FILTERS, "label", "spec"], status="succeeded")
    if rows.empty:
        raise UserError(f"{redact(store.uri)}: no cell has been trained here")
    cells = []
    folders = [Path(job["folder"]) for job in store.jobs() if job.get("folder")]
    for label, spec in select(rows, filters)[["label", "spec"]].itertuples(index=False):
        try:
            cell = Cell.model_validate_json(spec)
        except ValidationError as error:
            name = redact(store.uri)
            raise StoreError(f"{name}: the spec of {label} cannot be read: {error}") from error
        if cell.plugins:  # workers have them from the store; here they give names to `on`
            with suppress(UserError), loading:
                load_plugins(cell.plugins, folders)
        cells.append(with_present_name(cell))
    return cells


def check_weights_are_here(
    evaluations: Iterable[Evaluation], store: Store, known: KnownResults
) -> None:
    """Checks that cells that are trained already have weights, before anything starts.

    The cell's own plain test needs none, as its predictions are stored.

    Raises:
        NotFoundError: one has none; the message has the command that trains it.
        UserError: its components have been revised since.
    """
    due = {e.cell.key: e.cell for e in evaluations if not known.current(e) and not e.is_own_test}
    for cell in due.values():
        trained = known.success(cell.key)
        if trained is None or not cell.is_trained:  # it is still to be; a file of the data root
            continue
        _check_revisions(store, cell)
        own = store.checkpoints.has(cell.key, trained.attempt or "", WEIGHTS)
        if not own and not store.weights.has(cell.key):
            raise no_weights(store, cell)


def _check_revisions(store: Store, cell: Cell) -> None:
    if cell.plugins:  # workers have them as they were
        return
    for kind, name in (("model", cell.architecture), ("transform", cell.transform)):
        entry = lookup(kind, name)  # type: ignore[arg-type]
        then = cell.revisions[f"{kind}:{name}"]
        if entry.revision != then:
            raise UserError(
                f"{cell.label} was trained with revision {then} of {kind} {name!r}; here it has "
                f"{entry.revision}; {training(store, cell.key)}"
            )


def _on_dataset(cell: Cell, dataset: FoundDataset) -> Cell:
    """The cell, of another data set.

    Raises:
        UserError: its images or classes are not like those that the cell was trained on.
    """
    info, own, name = dataset.info, cell.data, dataset.entry.name
    if name == cell.dataset:
        return cell
    for what, given, needed in (
        ("frame", info.frame, own.frame),
        ("channels", info.channels, own.channels),
        ("n_classes", info.n_classes, own.n_classes),
    ):
        if given != needed and None not in (given, needed):
            raise UserError(
                f"data set {name!r} has {what} {given}, and {cell.label} was trained on "
                f"{cell.dataset!r}, which has {needed}",
                "evaluate.dataset",
            )
    revisions = {c: r for c, r in cell.revisions.items() if not c.startswith("dataset:")}
    return cell.model_copy(
        update={
            "dataset": name,
            "revisions": revisions | {f"dataset:{name}": dataset.revision},
            "data": info,
            "plugins": tuple(sorted({*cell.plugins, *filter(None, [dataset.entry.plugin])})),
        }
    )
