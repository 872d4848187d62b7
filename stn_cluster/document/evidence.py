"""All that a report is made of, read from a store once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stn_cluster.paths import user_path
from stn_cluster.report.evaluation_tables import evaluation_means
from stn_cluster.report.grading import Grades, grade
from stn_cluster.report.table import ComparisonTable, comparison_table, shown_keys
from stn_cluster.store import Store, load_evaluations, load_results, load_verifications, redact

Matrix = tuple[str, str]  # data set, recipe


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a store knows."""

    source: str  # the store as its user named it, without credentials
    store: Store
    data_root: Path | None
    table: ComparisonTable  # with intervals
    results: pd.DataFrame  # the current row of each key that the table is of, failed ones too
    grades: Grades  # of succeeded cells
    attempts: Mapping[str, int]  # that ended, by key
    evaluations: pd.DataFrame  # of the current attempts, with the cells' labels
    evaluation_means: pd.DataFrame  # over seeds
    verifications: pd.DataFrame
    class_names: Mapping[str, list[str]]  # by data set; of those that have names
    outdated: tuple[str, ...]  # lines on results of older versions of a plug-in

    @property
    def succeeded(self) -> pd.DataFrame:
        """Cells with a result."""
        return self.results[self.results["status"] == "succeeded"]

    def matrices(self) -> Iterator[tuple[Matrix, pd.DataFrame]]:
        """The table's rows of each data set and recipe."""
        for (dataset, recipe), part in self.table.groupby(["dataset", "recipe"], sort=False):
            yield (str(dataset), str(recipe)), pd.DataFrame(part)


def gather(
    store: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    **filters: Any,
) -> Evidence:
    """Reads what a report is made of.

    Args:
        store: path or URI.
        data_root: folder of data files, for labels that the store lacks and for images.
        filters: see `load_results`.

    Raises:
        UserError: an unknown filter, no cell matches the filters, or the data under `data_root` is
            not what cells were tested on.
        StoreError: there is no store, or a file in it cannot be read.
    """
    opened = Store.open(store)
    opened.check()
    root = None if data_root is None else user_path(data_root)
    table = comparison_table(opened, interval=True, data_root=root, **filters)
    shown = shown_keys(opened, **filters)  # without those that newer ones replace
    results = load_results(opened, **filters)
    results = results[results["key"].isin(shown)].reset_index(drop=True)
    done = results[results["status"] == "succeeded"]
    tested = done[done["n_test"].notna() & done["n_wrong"].notna()]
    ended = opened.read("cells", columns=["key"])["key"].to_pylist()
    evaluations = load_evaluations(opened, predictions=True, **filters)
    sets = opened.read("test_sets", columns=["dataset", "class_names"]).to_pylist()
    return Evidence(
        source=redact(os.fspath(store)),
        store=opened,
        data_root=root,
        table=table,
        results=results,
        grades=grade(opened, tested, root),
        attempts=Counter(ended),
        evaluations=evaluations[evaluations["key"].isin(shown)].replace({np.nan: None}),
        evaluation_means=evaluation_means(opened, **filters),
        verifications=load_verifications(opened, **filters),
        class_names={row["dataset"]: row["class_names"] for row in sets if row["class_names"]},
        outdated=tuple(opened.outdated(lambda: results["key"])),
    )
