"""Test images that networks get wrong: the hardest, and what only transformers save or lose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.figures.theme import LIGHT, Theme, new_figure
from stn_cluster.figures.theme import new_axes as axes_of
from stn_cluster.figures.votes import Votes

COLUMNS = 8


def hardest_figure(votes: Votes, count: int = 24, theme: Theme = LIGHT) -> Figure:
    """Draws the images that most networks get wrong: true class, usual mistake, wrong networks.

    Args:
        votes: predictions and images.
        count: number of images at most.
        theme: its colours.

    Raises:
        UserError: no network gets any image wrong.
    """
    times = votes.wrong.sum(axis=0)
    chosen = np.argsort(-times, kind="stable")[:count]
    chosen = chosen[times[chosen] > 0]
    if not len(chosen):
        raise UserError("there is nothing to draw: no network gets any image wrong")
    rows = -(-len(chosen) // COLUMNS)
    figure = new_figure(theme, 2.1 * COLUMNS, 1.2 + 2.7 * rows)
    axes = axes_of(figure, theme, rows, COLUMNS)
    _draw(axes, votes, chosen, [f"{times[i]} of {len(votes.predicted)}" for i in chosen], theme)
    figure.suptitle(
        f"{votes.title}: wrong by most networks (true, taken for)",
        color=theme.text,
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def saved_figure(votes: Votes, theme: Theme = LIGHT) -> Figure:
    """Draws images that transformers get right and others do not, and the other way round.

    Upper row: the share of networks that are wrong falls most by a transformer; lower row: it rises
    most. The titles count the images that all networks of one kind get, and none of the other.

    Args:
        votes: predictions and images, of networks with and without transformers.
        theme: its colours.

    Raises:
        UserError: there are no networks of one of the kinds.
    """
    if votes.transformed.all() or not votes.transformed.any():
        raise UserError("this figure needs networks with and without transformers")
    wrong = votes.wrong
    theirs = wrong[votes.transformed].mean(axis=0)
    others = wrong[~votes.transformed].mean(axis=0)
    figure = new_figure(theme, 2.1 * COLUMNS, 8.2)
    axes = axes_of(figure, theme, 2, COLUMNS)
    kinds = (("saved", others - theirs), ("lost", theirs - others))
    for row, (kind, gain) in enumerate(kinds):
        chosen = np.argsort(-gain, kind="stable")[:COLUMNS]
        chosen = chosen[gain[chosen] > 0]
        captions = [f"{others[i]:.0%} → {theirs[i]:.0%}" for i in chosen]
        here = axes[row * COLUMNS : (row + 1) * COLUMNS]
        _draw(here, votes, chosen, captions, theme)
        here[0].set_ylabel(f"{int((gain == 1).sum())} only {kind}", color=theme.text)
    figure.suptitle(
        f"{votes.title}: {kinds[0][0]} and {kinds[1][0]} by transformers "
        "(wrong networks without → with)",
        color=theme.text,
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def _draw(
    axes: Sequence[Axes],
    votes: Votes,
    chosen: NDArray[np.intp],
    captions: Sequence[str],
    theme: Theme,
) -> None:
    for one, image, caption in zip(axes, chosen, captions, strict=False):
        one.imshow(votes.images[image], cmap="gray", vmin=0, vmax=255)
        names = f"{votes.name(int(votes.truth[image]))}, {votes.usual_mistake(int(image))}"
        one.set_title(names, fontsize=8, color=theme.text)
        one.set_xlabel(caption, fontsize=7)
    for one in axes:
        one.set_xticks([])
        one.set_yticks([])
    for one in axes[len(chosen) :]:
        one.remove()
