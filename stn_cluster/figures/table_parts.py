"""Parts of a comparison table that figures draw: one matrix, one of its columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from stn_cluster.errors import UserError, unknown

NOTHING = "there is nothing to draw: no cell has a result"


def one_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that has one data set and recipe.

    Raises:
        UserError: it has none, or several, which are named.
    """
    names = table[["dataset", "recipe"]].drop_duplicates()
    if names.empty:
        raise UserError(NOTHING)
    if len(names) > 1:
        shown = ", ".join(f"{dataset} with {recipe}" for dataset, recipe in names.to_numpy())
        raise UserError(f"a figure is of one data set and recipe; choose one of {shown}")
    return table


def one_column(table: pd.DataFrame, distortion: str) -> pd.DataFrame:
    """The entries of one distortion that have a result.

    Raises:
        UserError: there is no such column, or nothing in it has a result.
    """
    matrix = one_matrix(table)
    if distortion not in set(matrix["distortion"]):
        raise UserError(unknown("distortion", distortion, sorted(set(matrix["distortion"]))))
    column = matrix[(matrix["distortion"] == distortion) & matrix["test_error_mean"].notna()]
    if column.empty:
        raise UserError(NOTHING)
    return column


def network_name(row: Mapping[Hashable, Any]) -> str:
    """Model and transform of a row: 'CNN', 'ST-CNN affine'."""
    return f"{row['model']} {row['transform']}".removesuffix(" none")


def title_of(table: pd.DataFrame) -> str:
    """Data set and recipe of a matrix: 'mnist, recipe fast'."""
    dataset, recipe = table.iloc[0][["dataset", "recipe"]]
    return f"{dataset}, recipe {recipe}"


def question_of(table: pd.DataFrame, column: str = "question") -> str:
    """What intervals or marks are about: 'methods' if all are, else 'these trained networks'."""
    asked = set(table[column].dropna())
    return "methods" if asked == {"methods"} else "these trained networks"
