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

ENTRY = ("dataset", "recipe", "model", "transform", "distortion")
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
    turn = rows.groupby(list(ENTRY)).cumcount()
    by_turn = rows.assign(turn=turn).sort_values("turn", kind="stable")
    sizes = 4 * by_turn["n_wrong"].astype(int)  # two or three bytes a wrong image, as base64
    shown = rows.loc[by_turn.index[sizes.cumsum() <= most_bytes].sort_values()]
    groups: dict[str, list[tuple[Mapping[Any, Any], GradedCell]]] = {}
    for row in shown.to_dict("records"):
        graded = evidence.grades.cells[row["key"]]
        members = groups.setdefault(graded.test_set, [])
        if not members or members[0][1].wrong.shape == graded.wrong.shape:
            members.append((row, graded))
    names = _class_names(evidence.store)
    test_sets = tuple(_test_set(members, names) for members in groups.values())
    recipes = shown.groupby("dataset")["recipe"].nunique()
    cells = tuple(
        _cell(row, graded, index, test_sets[index].wrong, recipes[row["dataset"]] > 1)
        for index, members in enumerate(groups.values())
        for row, graded in members
    )
    return Embedded(test_sets, cells, len(rows) - len(cells))


def _test_set(
    members: Sequence[tuple[Mapping[Any, Any], GradedCell]],
    names: Mapping[str, tuple[str, ...] | None],
) -> TestSet:
    rows = [row for row, _ in members]
    cells = [graded for _, graded in members]
    times = np.zeros(cells[0].wrong.size, np.int64)
    for one in cells:
        times += one.wrong.ravel()
    order = np.argsort(-times, kind="stable")
    wrong = order[: int((times > 0).sum())]
    places = dict.fromkeys(f"{row['dataset']}, {row['distortion']}" for row in rows)
    return TestSet(
        cells[0].test_set,
        "; ".join(places),
        str(rows[0]["spec"]),
        len(times),
        len(cells[0].wrong),
        names.get(cells[0].test_set),
        wrong,
        cells[0].truth[wrong].astype(np.int64),
    )


def _cell(
    row: Mapping[Any, Any],
    graded: GradedCell,
    test_set: int,
    wrong: NDArray[np.intp],
    several_recipes: bool,
) -> EmbeddedCell:
    dataset, recipe, model, transform, distortion = (str(row[name]) for name in ENTRY)
    places = np.flatnonzero(graded.wrong.ravel()[wrong])
    return EmbeddedCell(
        str(row["key"]),
        f"{row['label']} ({recipe})" if several_recipes else str(row["label"]),
        (dataset, recipe, model, transform, distortion),
        int(row["seed"]),
        test_set,
        places,
        graded.predicted[wrong[places]].astype(np.int64),
    )


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
