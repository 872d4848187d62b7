"""A report: everything that it says and shows, before it has a format."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stn_cluster.document.drawings import Drawing, draw_all, draw_evaluations, draw_votes
from stn_cluster.document.embedded import Embedded, embed
from stn_cluster.document.evidence import Evidence, Matrix
from stn_cluster.document.findings import coverage, findings, ranks
from stn_cluster.document.methods_paragraph import methods
from stn_cluster.document.record_sections import (
    evaluations,
    failures,
    provenance,
    verifications,
)
from stn_cluster.document.section import Grid, Section, counted
from stn_cluster.document.sheets import Sheets, make_sheets
from stn_cluster.document.wrong_images import load_images, votes_of
from stn_cluster.grid import NO_TRAINING
from stn_cluster.plain_text import one_line
from stn_cluster.report.matrix import entry_parts, matrices, matrix_rows
from stn_cluster.report.untrained import BESIDE_TRAINED

_NOTHING = {
    "evaluations": "no cell was evaluated on other test images",
    "verifications": "no cell was trained again to check it; `stn-cluster verify` does so",
    "failures": "no cell failed, and none is missing",
    "methods": "no cell has a result",
    "provenance": "no cell has a result",
}


@dataclass(frozen=True)
class PageEntry:
    """An entry of the matrix, as a page shows it."""

    error: str  # or why there is none
    parts: tuple[str, ...]  # interval, and what it is compared with
    marked: bool  # whether it cannot be told from the column's best
    cells: tuple[int, ...]  # those of its cells that a page can compare


@dataclass(frozen=True)
class PageRow:
    """A network's entries."""

    model: str
    transform: str
    entries: tuple[PageEntry, ...]
    mean: str | None


@dataclass(frozen=True)
class PageMatrix:
    """The matrix of a data set and recipe."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[PageRow, ...]
    legend: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Report:
    """A report of a store."""

    title: str
    subtitle: str
    table: pd.DataFrame
    findings: Section
    matrices: tuple[PageMatrix, ...]
    ranks: tuple[Grid, ...]
    embedded: Embedded | None  # None: there is nothing that a page could compare
    sheets: tuple[Sheets, ...]  # of each embedded test set
    explorer_note: str
    drawings: tuple[tuple[str, tuple[Drawing, ...]], ...]  # of each matrix
    images: tuple[Drawing, ...]
    evaluated: tuple[Drawing, ...]
    sections: tuple[Section, ...]
    left_out: tuple[tuple[str, str], ...]  # what, and why
    made_by: str

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Names and titles of the parts of a page."""
        found = [("findings", self.findings.title), ("table", "Errors")]
        found += [("explore", "Any two cells")] if self.embedded else []
        found += [("figures", "Figures")] if self.drawings else []
        found += [("images", "Images")] if self.images else []
        found += [(one.name, one.title) for one in self.sections]
        return [*found, *([("left-out", "Left out")] if self.left_out else [])]


def compose(evidence: Evidence, version: str, *, pictures: bool = True) -> Report:
    """Makes a report of what a store knows.

    Args:
        evidence: from `gather`.
        version: of stn-cluster.
        pictures: whether test images are shown, as far as they can be made.
    """
    left_out: dict[str, str] = {}
    sections = []
    makers = (evaluations, verifications, failures, methods, provenance)
    for section in (make(evidence) for make in makers):
        if section.paragraphs or section.grids:
            sections.append(section)
        else:
            left_out[section.title] = _NOTHING[section.name]
    drawings = draw_all(evidence, left_out)
    embedded, sheets, images = _explorable(evidence, left_out, pictures)
    evaluated = draw_evaluations(evidence, left_out)
    command = f"stn-cluster report --store {shlex.quote(evidence.source)}"
    newest = evidence.results["accepted_at"].max()
    dated = "" if pd.isna(newest) else f"; newest result {newest:%Y-%m-%d}"
    return Report(
        title=one_line(f"Results: {evidence.source.rstrip('/').rpartition('/')[2]}"),
        subtitle=f"{coverage(evidence)}{dated}.",
        table=evidence.table,
        findings=findings(evidence),
        matrices=_page_matrices(evidence, embedded),
        ranks=tuple(ranks(evidence)),
        embedded=embedded,
        sheets=sheets,
        explorer_note=_explorer_note(embedded, sheets) if embedded else "",
        drawings=tuple(
            (f"{dataset}, recipe {recipe}", tuple(drawn))
            for (dataset, recipe), drawn in drawings.items()
            if drawn
        ),
        images=tuple(images),
        evaluated=tuple(evaluated),
        sections=tuple(sections),
        left_out=tuple((one_line(what), one_line(why)) for what, why in left_out.items()),
        made_by=f"Made by stn-cluster {version}: `{command}`",
    )


def _explorable(
    evidence: Evidence, left_out: dict[str, str], pictures: bool
) -> tuple[Embedded | None, tuple[Sheets, ...], Sequence[Drawing]]:
    """What a page can compare by itself, with pictures, and figures of the hardest images."""
    name = "Comparing any two cells"
    embedded = embed(evidence)
    if not embedded.cells:
        reasons = dict.fromkeys(evidence.grades.reasons.values())
        left_out[name] = "; ".join(reasons) or "no cell has predictions"
        left_out["Images"] = left_out[name]
        return None, (), ()
    if embedded.left_out:
        left_out[f"{name}: {counted(embedded.left_out, 'cell')}"] = "there was no room for all"
    for reason in dict.fromkeys(evidence.grades.reasons.values()):
        left_out[f"{name}, for some"] = reason
    if pictures:
        images = load_images(embedded.test_sets, evidence.store, evidence.data_root, left_out)
    else:
        images, left_out["Images"] = {}, "as asked for by `--no-images`"
    drawn = draw_votes(votes_of(embedded, images), left_out)
    return embedded, make_sheets(embedded.test_sets, images), drawn


def _explorer_note(embedded: Embedded, sheets: Sequence[Sheets]) -> str:
    images = sum(len(one.wrong) for one in embedded.test_sets)
    pictures = sum(one.pictures for one in sheets)
    rest = f"; the other {images - pictures:,} have none" if pictures < images else ""
    return (
        "Choose two cells of one column, here or by two clicks in the table: this page computes "
        f"their paired test and shows where they differ. Of {counted(images, 'test image')} that "
        f"some cell gets wrong, {pictures:,} have a picture here{rest}."
    )


def _page_matrices(evidence: Evidence, embedded: Embedded | None) -> tuple[PageMatrix, ...]:
    places: dict[tuple[str, ...], list[int]] = {}
    for index, cell in enumerate(embedded.cells if embedded else ()):
        places.setdefault(cell.entry, []).append(index)
    found = []
    for matrix, ((dataset, recipe), part) in zip(
        matrices(evidence.table), evidence.matrices(), strict=True
    ):
        seeds = int(part["n_seeds"].max())
        rows = []
        for (model, transform, entries), texts in zip(matrix_rows(part), matrix.rows, strict=True):
            shown = tuple(
                _page_entry(entry, seeds, _cells_of(places, (dataset, recipe), entry))
                for entry in entries
            )
            mean = texts[-1] if len(entries) > 1 else None
            rows.append(PageRow(model, transform, shown, mean))
        found.append(PageMatrix(matrix.title, matrix.header[2:], tuple(rows), matrix.legend))
    return tuple(found)


def _page_entry(entry: Mapping[Any, Any], seeds: int, cells: Sequence[int]) -> PageEntry:
    error, *parts = map(one_line, entry_parts(entry, seeds))
    return PageEntry(error, tuple(filter(None, parts)), entry["marked"] is True, tuple(cells))


def _cells_of(
    places: Mapping[tuple[str, ...], list[int]], matrix: Matrix, entry: Mapping[Any, Any]
) -> list[int]:
    """Embedded cells of an entry; one that was not trained stands under every recipe."""
    model, *rest = (str(entry[name]) for name in ("model", "transform", "distortion"))
    trained = places.get((*matrix, model, *rest), [])
    given = model.removesuffix(BESIDE_TRAINED)
    return trained or places.get((matrix[0], NO_TRAINING, given, *rest), [])
