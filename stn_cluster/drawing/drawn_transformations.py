"""The paper's figure of one cell: its inputs, the predicted grids on them, and its outputs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from stn_cluster.drawing.image_sheets import check_data
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.figures.load_seen import Choice, load_seen
from stn_cluster.figures.theme import THEMES
from stn_cluster.figures.transformations import transformations_figure
from stn_cluster.inference.stored_cells import find_cell

DPI = 160  # twice that of CSS, or nearly: for sharp screens


def draw_transformations(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """PNG of the figure.

    Args:
        workplace: its store.
        request: key; attempt, or None; choice, count and images, see `Choice`; theme, light or
            dark.

    Raises:
        UserError: see `load_seen`.
    """
    choice = Choice(request["choice"], request["count"], tuple(request["images"]))
    key, attempt = request["key"], request["attempt"]
    check_data(workplace, find_cell(workplace.store, key, None, attempt, {}).cell)
    seen = load_seen(workplace.store, key, choice, workplace.data_root, attempt=attempt)
    figure = transformations_figure([seen], THEMES[request["theme"]])
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
