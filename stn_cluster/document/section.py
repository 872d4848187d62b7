"""Parts of a report, in no format yet: all texts are plain, and escaped by whoever renders them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stn_cluster.plain_text import one_line


@dataclass(frozen=True)
class Grid:
    """A table of short texts."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()  # columns that are aligned to the right


@dataclass(frozen=True)
class Section:
    """A titled part of the report. In its paragraphs, `commands` are between backticks."""

    name: str  # in the page's address, as in report.html#failures
    title: str
    paragraphs: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    folded: bool = False  # whether a page shows it only when asked to


def make_grid(
    title: str, header: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()
) -> Grid:
    """A table whose entries are in one line each."""
    lines = tuple(tuple(one_line(str(text)) for text in row) for row in rows)
    return Grid(title, tuple(map(one_line, header)), lines, frozenset(numbers))


def listed(names: Iterable[object], most: int | None = None) -> str:
    """Names as prose: 'R, RTS and P'; of more than `most`, the first ones and how many more."""
    texts = [str(name) for name in names]
    if most is not None and len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most:,} more"
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))


def counted(count: int, what: str) -> str:
    """A number of things: '1 cell', '1,200 cells'."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
