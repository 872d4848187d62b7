"""Verifications as text, and whether they held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from stn_cluster.plain_text import one_line
from stn_cluster.store import Verification

_HEADER = ("", "n", "differ", "", "trained again on", "stored result")
_NUMBERS = (1, 2)  # columns


def broken(verifications: Sequence[Verification], results: pd.DataFrame) -> list[str]:
    """Names of cells that differ on the same kind of device, which fails the check.

    Args:
        verifications: of cells of a store.
        results: the store's rows of `cells`, those that were verified among them.
    """
    stored, names = _stored(verifications, results), _names(verifications, results)
    return [
        name
        for one, name in zip(verifications, names, strict=True)
        if not one.identical and one.device == stored[one.attempt]["device"]
    ]


def verification_text(verifications: Sequence[Verification], results: pd.DataFrame) -> str:
    """Renders verifications as a text that ends with a newline: a row for each, then the verdict.

    Args:
        verifications: at least one.
        results: see `broken`.
    """
    stored, names = _stored(verifications, results), _names(verifications, results)
    texts = [
        _texts(name, one, stored[one.attempt])
        for name, one in zip(names, verifications, strict=True)
    ]
    rows = [_HEADER, *(tuple(map(one_line, row)) for row in texts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if index in _NUMBERS else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    sentences = _sentences(verifications, broken(verifications, results))
    return "\n".join([*lines, "", *map(one_line, sentences)]) + "\n"


def _stored(
    verifications: Sequence[Verification], results: pd.DataFrame
) -> dict[str, Mapping[Any, Any]]:
    """Rows that were verified, by attempt."""
    rows = results[results["attempt"].isin([one.attempt for one in verifications])]
    return {row["attempt"]: row for row in rows.to_dict("records")}


def _names(verifications: Sequence[Verification], results: pd.DataFrame) -> list[str]:
    """Labels, with data set and recipe where there are several."""
    stored = _stored(verifications, results)
    rows = [stored[one.attempt] for one in verifications]
    if len({(row["dataset"], row["recipe"]) for row in rows}) == 1:
        return [str(row["label"]) for row in rows]
    return [f"{row['label']} ({row['dataset']}, {row['recipe']})" for row in rows]


def _texts(name: str, one: Verification, stored: Mapping[Any, Any]) -> tuple[str, ...]:
    place, origin = (one.device, one.torch), (stored["device"], stored["torch_version"])
    kept = "the same" if place == origin else _place(*origin)
    return (
        name,
        f"{one.n_test:,}",
        f"{one.n_differ:,}",
        outcome(one.identical, one.n_differ),
        _place(*place),
        kept,
    )


def outcome(identical: bool, n_differ: int) -> str:
    """What a verification came to: 'identical to the bit' or less than that."""
    if identical:
        return "identical to the bit"
    return "predictions differ" if n_differ else "predictions are the same, not all bits"


def _place(device: Any, torch: Any) -> str:
    return f"{device}, torch {torch}"


def _sentences(verifications: Sequence[Verification], failed: Sequence[str]) -> Iterable[str]:
    identical = sum(one.identical for one in verifications)
    yield (
        "n test images, and how many of them are predicted otherwise. Bits are those of "
        "predictions, probabilities and training losses."
    )
    yield f"Identical to the bit: {identical:,} of {len(verifications):,}."
    if failed:
        yield f"Check failed (differs on the same kind of device): {', '.join(failed)}."
    elif identical < len(verifications):
        yield "Check: what differs was trained on another kind of device, where rounding differs."
    else:
        yield "Check: nothing differs."
