"""What a page needs to compare any two cells by itself: their wrong predictions, and labels.

Texts of numbers are base64 of variable-length integers: seven bits a byte, the lowest first, and
the eighth bit says that more follow.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.document.evidence import Evidence
from stn_cluster.report.grading import GradedCell
from stn_cluster.store import Store

MOST_BYTES = 1_000_000  # of the wrong predictions as text; cells beyond it are counted


@dataclass(frozen=True, eq=False)
class TestSet:
    """Images of a test set that some cell gets wrong, those that most cells get wrong first."""

    __test__ = False  # not a test, whatever pytest takes it for

    test_set: str  # 16 hex digits
    title: str  # data set and distortion
    spec: str  # of one of its cells, by which its images can be made
    images: int  # of the whole test set
    repeats: int
    class_names: tuple[str, ...] | None
    wrong: NDArray[np.intp]  # indices of these images
    truth: NDArray[np.int64]  # their classes


@dataclass(frozen=True, eq=False)
class EmbeddedCell:
    """A cell's wrong predictions."""

    key: str
    label: str  # with the recipe where the test set has several
    entry: tuple[str, str, str, str, str]  # data set, recipe, model, transform, distortion
    seed: int
    test_set: int  # index
    places: NDArray[np.intp]  # in the test set's `wrong`, ascending
    predicted: NDArray[np.int64]

    def text(self) -> str:
        """Gaps between places, each followed by the class that was predicted."""
        gaps = np.diff(self.places, prepend=0)
        return as_text(np.stack([gaps, self.predicted], axis=1).ravel())


@dataclass(frozen=True, eq=False)
class Embedded:
    """Test sets and cells that a page can compare."""

    test_sets: tuple[TestSet, ...]
    cells: tuple[EmbeddedCell, ...]
    left_out: int  # cells with predictions for which there was no room


def embed(evidence: Evidence, most_bytes: int = MOST_BYTES) -> Embedded:
    """Chooses the cells whose predictions a page carries: one seed of every entry first."""
    rows = evidence.succeeded
    rows = rows[rows["key"].isin(evidence.grades.cells)]
    turn = rows.groupby(["dataset", "recipe", "model", "transform", "distortion"]).cumcount()
    rows = rows.assign(turn=turn).sort_values("turn", kind="stable")
    chosen, room = [], most_bytes
    for row in rows.to_dict("records"):
        # Two or three bytes a wrong image, and four characters for three bytes.
        room -= 4 * int(row["n_wrong"])
        if room < 0:
            break
        chosen.append(row["key"])
    shown = rows[rows["key"].isin(chosen)].sort_index()
    names = _class_names(evidence.store)
    groups: dict[str, list[GradedCell]] = {}
    for key in shown["key"]:
        cell = evidence.grades.cells[key]
        groups.setdefault(cell.test_set, []).append(cell)
    by_key = {str(row["key"]): row for row in shown.to_dict("records")}
    test_sets = tuple(
        _test_set(members, [by_key[one.key] for one in members], names)
        for members in groups.values()
    )
    places = {name: index for index, name in enumerate(groups)}
    recipes = shown.groupby("dataset")["recipe"].nunique()
    cells = []
    for key, row in by_key.items():
        graded = evidence.grades.cells[key]
        index = places[graded.test_set]
        where, predicted = _wrong(graded, test_sets[index])
        several = recipes[row["dataset"]] > 1
        cells.append(
            EmbeddedCell(
                key,
                f"{row['label']} ({row['recipe']})" if several else str(row["label"]),
                tuple(
                    str(row[name])
                    for name in ("dataset", "recipe", "model", "transform", "distortion")
                ),  # type: ignore[arg-type]
                int(row["seed"]),
                index,
                where,
                predicted,
            )
        )
    return Embedded(test_sets, tuple(cells), len(rows) - len(chosen))


def _test_set(
    members: Sequence[GradedCell],
    rows: Sequence[Mapping[Any, Any]],
    names: dict[str, tuple[str, ...] | None],
) -> TestSet:
    times = np.zeros(members[0].wrong.size, np.int64)
    for one in members:
        times += one.wrong.ravel()
    order = np.argsort(-times, kind="stable")
    wrong = order[: int((times > 0).sum())]
    places = dict.fromkeys(f"{row['dataset']}, {row['distortion']}" for row in rows)
    return TestSet(
        members[0].test_set,
        "; ".join(places),
        str(rows[0]["spec"]),
        len(times),
        members[0].wrong.shape[0],
        names.get(members[0].test_set),
        wrong,
        members[0].truth[wrong].astype(np.int64),
    )


def _wrong(cell: GradedCell, test_set: TestSet) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    places = np.flatnonzero(cell.wrong.ravel()[test_set.wrong])
    return places, cell.predicted[test_set.wrong[places]].astype(np.int64)


def _class_names(store: Store) -> dict[str, tuple[str, ...] | None]:
    rows = store.read("test_sets", columns=["test_set", "class_names"]).to_pylist()
    return {
        row["test_set"]: None if row["class_names"] is None else tuple(row["class_names"])
        for row in rows
    }


def as_text(numbers: Iterable[int]) -> str:
    """Whole numbers, 0 or more, as base64: see the module's docstring."""
    found = bytearray()
    for number in numbers:
        value = int(number)
        while value > 127:
            found.append(value & 127 | 128)
            value >>= 7
        found.append(value)
    return base64.b64encode(bytes(found)).decode()
