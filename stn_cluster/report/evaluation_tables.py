"""Tables of evaluations: trained on one distortion and tested on another, and error by severity."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from stn_cluster.dataset_info import FRAME
from stn_cluster.evaluate_config import CLEAN, TEST_DISTORTIONS
from stn_cluster.grid import base_distortion
from stn_cluster.plain_text import one_line
from stn_cluster.report.matrix import Matrix
from stn_cluster.report.render import CSV, check_format, render_matrices
from stn_cluster.report.table import current_cells
from stn_cluster.store import (
    TABLE_ORDER,
    TEST_FILTERS,
    Store,
    as_csv,
    as_json,
    load_evaluations,
)

JSON = "json"
NO_ROOM = "*"  # behind an error on RTS where images fill the canvas
_NOTHING = "No evaluations: `stn-cluster evaluate` makes them."
_ROW = ["model", "transform", "trained_on"]
_BLOCK = ["trained_dataset", "recipe", "dataset"]
_TEST = ["on", "severity", "worst_of"]
_MEASURES = [
    "ink_lost",
    *(f"pose_{name}" for name in ("degrees", "log2_scale", "shift_px", "residual_px")),
    *(f"identity_{name}" for name in ("degrees", "log2_scale", "shift_px", "residual_px")),
]


def current_evaluations(
    store: Store, evaluations: Sequence[str] | None = None, **filters: Any
) -> pd.DataFrame:
    """Rows of `load_evaluations` of the newest key of each entry and seed of the matrix.

    A newer key replaces an older one also while it has not been evaluated.

    Args:
        store: the store.
        evaluations: ids of evaluations, of whose keys the newest count; None: all.
        filters: see `load_evaluations`.
    """
    rows = load_evaluations(store, **filters)
    of_cells = _of_cells(filters)
    if evaluations is not None:
        rows = rows[rows["evaluation"].isin(evaluations)]
        of_cells = {"key": rows["key"].unique().tolist()}
    cells = store.results(columns=["key", *TABLE_ORDER], filters=of_cells)
    return rows[rows["key"].isin(current_cells(cells)["key"])]


def _of_cells(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: wanted for name, wanted in filters.items() if name not in TEST_FILTERS}


def evaluation_means(
    store: str | os.PathLike[str] | Store, evaluations: Sequence[str] | None = None, **filters: Any
) -> pd.DataFrame:
    """Means of evaluations over seeds: a row for each network, what it was trained on, and test.

    Of each entry and seed of the matrix, the newest key counts.

    Args:
        store: a store, or its path or URI.
        evaluations: ids of evaluations; None: all.
        filters: see `load_evaluations`.

    Returns:
        trained_dataset, recipe, dataset, model, transform, trained_on, on, severity, worst_of;
        status; n_seeds (succeeded ones); test_error_mean, test_error_std (percent; NaN for one
        seed); means of ink_lost, pose_* and identity_*; no_room: whether images fill the canvas, so
        that RTS moves nothing.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    rows = current_evaluations(opened, evaluations, **filters)
    cells = opened.results(columns=["key", "spec"], filters={"key": rows["key"].unique().tolist()})
    specs = cells.set_index("key")["spec"].to_dict()
    rows = rows.assign(
        no_room=[
            row["distortion"] == "RTS" and _fills(json.loads(specs[row["key"]]), row["canvas"])
            for row in rows[["key", "distortion", "canvas"]].to_dict("records")
        ]
    )
    means = []
    for names, seeds in rows.groupby([*_BLOCK, *_ROW, *_TEST], sort=False):
        done = seeds[seeds["status"] == "succeeded"]
        means.append(
            {
                **dict(zip([*_BLOCK, *_ROW, *_TEST], names, strict=True)),
                "status": "succeeded" if len(done) else "failed",
                "n_seeds": len(done),
                "test_error_mean": done["test_error"].mean(),
                "test_error_std": done["test_error"].std(ddof=1),
                **{name: done[name].astype(float).mean() for name in _MEASURES},
                "no_room": bool(seeds["no_room"].any()),
            }
        )
    numbers = ["n_seeds", "test_error_mean", "test_error_std", *_MEASURES, "no_room"]
    return pd.DataFrame(means, columns=[*_BLOCK, *_ROW, *_TEST, "status", *numbers])


def transfer(
    store: str | os.PathLike[str] | Store,
    format: str = "text",
    *,
    evaluations: Sequence[str] | None = None,
    **filters: Any,
) -> str:
    """The table of cells trained on one distortion (rows) and tested on others (columns).

    Test sets at severity 1, each image drawn once, unless `severity` or `worst_of` are among the
    filters, or ids of evaluations are given.

    Args:
        store: a store, or its path or URI.
        format: text, md, csv, latex, html or json; csv and json have a line for each entry.
        evaluations: ids of evaluations; None: all.
        filters: see `load_evaluations`.

    Raises:
        UserError: there is no such format or filter, or no cell matches the filters.
        StoreError: there is no store, or a file in it cannot be read.
    """
    means = _means(store, evaluations, filters)
    if evaluations is None:
        if filters.get("severity") is None:
            means = means[(means["severity"] == 1) | (means["on"] == CLEAN)]
        if filters.get("worst_of") is None:
            means = means[means["worst_of"] == 1]
    return _rendered(means, format, _transfer_matrices)


def robustness(
    store: str | os.PathLike[str] | Store,
    format: str = "text",
    *,
    evaluations: Sequence[str] | None = None,
    **filters: Any,
) -> str:
    """The tables of the error by severity (columns), one for each test distortion.

    Severity 0 is `clean`, where that is there.

    Args, raises: see `transfer`.
    """
    means = _means(store, evaluations, filters)
    return _rendered(means, format, _robustness_matrices)


def _means(
    store: str | os.PathLike[str] | Store,
    evaluations: Sequence[str] | None,
    filters: Mapping[str, Any],
) -> pd.DataFrame:
    """See `evaluation_means`; but an error if no cell matches the filters."""
    opened = store if isinstance(store, Store) else Store.open(store)
    means = evaluation_means(opened, evaluations, **filters)
    if means.empty and evaluations is None:
        opened.select(_of_cells(filters), ["key"])
    return means


def _rendered(
    means: pd.DataFrame, format: str, make: Callable[[pd.DataFrame], list[Matrix]]
) -> str:
    if format == JSON:
        return as_json(means) + "\n"
    check_format(format)
    if format == CSV:
        return as_csv(means)
    blocks = [make(part) for _, part in means.groupby(_BLOCK, sort=False)]
    return render_matrices([matrix for block in blocks for matrix in block], format, _NOTHING)


def _transfer_matrices(part: pd.DataFrame) -> list[Matrix]:
    part = part.assign(column=[_column(row) for row in part.to_dict("records")])
    columns = sorted(part["column"].unique(), key=lambda name: _rank(part, name))
    return [_matrix(part, title_of_evaluations(part), columns)]


def _robustness_matrices(part: pd.DataFrame) -> list[Matrix]:
    matrices = []
    clean = part[part["on"] == CLEAN].assign(severity=0.0)
    for on in [name for name in part["on"].unique() if name != CLEAN]:
        own = part[part["on"] == on]
        has_none = set(own[own["severity"] == 0][_ROW].itertuples(index=False, name=None))
        keep = [row not in has_none for row in clean[_ROW].itertuples(index=False, name=None)]
        rows = pd.concat([own, clean[keep]]).assign(
            column=lambda rows: [
                _severity(*pair) for pair in zip(rows["severity"], rows["worst_of"], strict=True)
            ]
        )
        rows = rows[rows[_ROW].apply(tuple, axis=1).isin(own[_ROW].apply(tuple, axis=1))]
        ordered = rows.sort_values(["severity", "worst_of"])["column"].unique()
        title = f"{title_of_evaluations(part)}, tested on {on}, by severity"
        matrices.append(_matrix(rows, title, list(ordered)))
    return matrices


def _matrix(rows: pd.DataFrame, title: str, columns: Sequence[str]) -> Matrix:
    seeds = int(rows["n_seeds"].max())
    lines = []
    for names, entries in rows.groupby(_ROW, sort=False):
        by_column = {entry["column"]: entry for entry in entries.to_dict("records")}
        texts = [_entry(by_column.get(column), seeds) for column in columns]
        lines.append(tuple(map(one_line, (*map(str, names), *texts))))
    return Matrix(
        title=one_line(title),
        header=("model", "transform", "trained on", *map(one_line, columns)),
        rows=tuple(lines),
        legend=tuple(_legend(rows, lines, seeds)),
    )


def _entry(entry: dict[Any, Any] | None, seeds: int) -> str:
    if entry is None:
        return "missing"
    if entry["status"] != "succeeded":
        return str(entry["status"])
    spread = f" ±{entry['test_error_std']:.2f}" if entry["n_seeds"] > 1 else ""
    fewer = f" n={entry['n_seeds']}" if entry["n_seeds"] < seeds else ""
    return f"{entry['test_error_mean']:.2f}{NO_ROOM if entry['no_room'] else ''}{spread}{fewer}"


def _legend(rows: pd.DataFrame, lines: Sequence[Sequence[str]], seeds: int) -> list[str]:
    over = f": mean ±standard deviation over {seeds} seeds." if seeds > 1 else ", one seed."
    legend = [f"Test error in percent{over}", *_room(rows)]
    texts = {text for line in lines for text in line}
    if "missing" in texts:
        legend.append("missing: not evaluated.")
    if "failed" in texts:
        legend.append("failed: ended with an error.")
    return legend


def seeds_and_room(rows: pd.DataFrame) -> list[str]:
    """Sentences for a figure of means: how many seeds they are over, and what `NO_ROOM` marks."""
    counts = sorted(set(rows["n_seeds"]))
    over = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return [f"Means over {over} seeds." if counts[-1] > 1 else "One seed.", *_room(rows)]


def _room(rows: pd.DataFrame) -> list[str]:
    sentence = f"{NO_ROOM}: images fill the canvas, where RTS turns and scales only."
    return [sentence] if rows["no_room"].any() else []


def title_of_evaluations(part: pd.DataFrame) -> str:
    """Data set and recipe of means that have one of each: 'mnist, recipe fast'; with the data set
    of the test images if that is one other."""
    [(trained, recipe, dataset), *more] = set(part[_BLOCK].itertuples(index=False, name=None))
    other = f", tested on {dataset}" if dataset != trained and not more else ""
    return f"{trained}, recipe {recipe}{other}"


def _column(row: dict[Any, Any]) -> str:
    plain = row["on"] == CLEAN or row["severity"] == 1
    at = "" if plain else f"@{_number(row['severity'])}"
    return f"{row['on']}{at}{_worst(row['worst_of'])}"


def _severity(severity: float, worst_of: int) -> str:
    return f"{_number(severity)}{_worst(worst_of)}"


def _number(severity: float) -> str:
    """A severity that no other one is written as."""
    return repr(float(severity)).removesuffix(".0")


def _worst(worst_of: int) -> str:
    return f" worst of {worst_of}" if worst_of > 1 else ""


def _rank(part: pd.DataFrame, column: str) -> tuple[Any, ...]:
    """The paper's order of distortions, clean first, others by name; then severity and draws."""
    row = part[part["column"] == column].iloc[0]
    order, base = TEST_DISTORTIONS, base_distortion(row["on"])
    place = order.index(base) if base in order else len(order)
    return (place, row["on"], row["severity"], row["worst_of"])


def _fills(spec: dict[str, Any], canvas: int) -> bool:
    """Whether a cell's images fill the canvas."""
    enlarged = spec["variant"].endswith("enlarged") and base_distortion(spec["distortion"]) == "P"
    return enlarged or canvas <= int(spec.get("data", {}).get("frame", FRAME))
