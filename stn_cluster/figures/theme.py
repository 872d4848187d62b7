"""Colours of figures, light and dark, that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

INCH = 2.54  # cm


@dataclass(frozen=True)
class Theme:
    """Colours of a figure."""

    background: str
    text: str
    faint: str  # grids, frames, what is beside the point
    series: tuple[str, ...]
    colormap: str = "cividis"  # for amounts; even in lightness for every kind of sight


# Okabe and Ito, Color Universal Design, 2008; yellow is last, as it is faint on white.
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LIGHT = Theme("#ffffff", "#1a1a1a", "#c8c8c8", (*_HUES, "#000000", "#F0E442"))
DARK = Theme("#16181d", "#e8e8e8", "#4a4e57", (*_HUES, "#ffffff", "#F0E442"))
THEMES = {"light": LIGHT, "dark": DARK}
_DASHES = ("-", "--", ":", "-.")


class _WordsFigure(Figure):
    """A figure in which dollar signs, as in names of users, are no formulas."""

    def draw(self, renderer: RendererBase) -> None:
        for words in self.findobj(Text):
            words.set_parse_math(False)
        super().draw(renderer)


def new_figure(theme: Theme, width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        theme: its colours.
        width, height: in cm.
    """
    return _WordsFigure(
        figsize=(width / INCH, height / INCH), facecolor=theme.background, layout="constrained"
    )


def new_axes(figure: Figure, theme: Theme, rows: int = 1, columns: int = 1) -> list[Axes]:
    """Axes in the theme's colours, row by row."""
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for one in axes:
        dress(one, theme)
    return axes


def dress(axes: Axes, theme: Theme) -> None:
    """Gives axes the theme's colours, and no frame."""
    axes.set_facecolor(theme.background)
    axes.tick_params(colors=theme.text, labelsize=8, length=0)
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(theme.text)
        part.set_fontsize(9)
    for spine in axes.spines.values():
        spine.set_visible(False)


def set_title(axes: Axes, theme: Theme, text: str) -> None:
    """Puts a title above the left end of axes."""
    axes.set_title(text, loc="left", color=theme.text, fontsize=10)


def style_of(theme: Theme, number: int) -> dict[str, Any]:
    """Colour and dashes of a series by its number: no two of the first 32 are the same."""
    hues = len(theme.series)
    return {
        "color": theme.series[number % hues],
        "linestyle": _DASHES[number // hues % len(_DASHES)],
    }


def add_legend(figure: Figure, axes: Axes, theme: Theme, columns: int = 4) -> None:
    """Puts the legend of axes above the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=columns,
            fontsize=8,
            frameon=False,
            labelcolor=theme.text,
        )


def add_caption(figure: Figure, theme: Theme, sentences: Sequence[str]) -> None:
    """Puts sentences below the figure."""
    if sentences:
        figure.supxlabel("\n".join(sentences), fontsize=7, color=theme.text, x=0.01, ha="left")
