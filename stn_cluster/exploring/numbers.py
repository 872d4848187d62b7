"""Values of frames as JSON has them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """A value of a frame as JSON has it: None for NaN, times as ISO 8601 in UTC."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(one) for one in value]
    return value


def plain_row(row: Any) -> dict[str, Any]:
    """A row, by column."""
    return {str(name): plain(value) for name, value in row.items()}
