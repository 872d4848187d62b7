"""What spatial transformers do to test images: the paper's figure (section 4.1, Table 1, right)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.figures.theme import LIGHT, Theme, new_axes, new_figure

POINTS = 12  # of the grid, each way, that are drawn
SQUARE = (-1.0, 1.0, 1.0, -1.0)  # left, right, bottom, top of an image: -1 and 1 are its edges


@dataclass(frozen=True, eq=False)
class Seen:
    """Test images as one network sees them."""

    label: str  # of the cell
    images: NDArray[np.float32]  # (N, H, W) or (N, H, W, 3), of 0 to 1
    grid: NDArray[np.float32]  # (N, H', W', 2): where each output pixel looks, x and y
    output: NDArray[np.float32]  # (N, H', W') or (N, H', W', 3)
    captions: tuple[str, ...]  # N, above the images


def transformations_figure(seen: Sequence[Seen], theme: Theme = LIGHT) -> Figure:
    """Draws, for each network: (a) the inputs, (b) the predicted sampling grid on them, (c) the
    transformer's outputs.

    Args:
        seen: what each of the networks sees of its images; some may have fewer.
        theme: its colours.

    Raises:
        UserError: there are no images.
    """
    seen = [one for one in seen if len(one.images)]
    columns = max((len(one.images) for one in seen), default=0)
    if not columns:
        raise UserError("there is nothing to draw: no image was chosen")
    figure = new_figure(theme, 2.5 + 2.2 * columns, 1 + 7.5 * len(seen))
    axes = new_axes(figure, theme, 3 * len(seen), columns)
    for number, one in enumerate(seen):
        rows = [axes[(3 * number + row) * columns :][:columns] for row in range(3)]
        for column, (given, gridded, output) in enumerate(zip(*rows, strict=True)):
            if column >= len(one.images):
                for axis in (given, gridded, output):
                    axis.set_visible(False)
                continue
            _show(given, one.images[column])
            _show(gridded, one.images[column])
            _draw_grid(gridded, one.grid[column], theme)
            _show(output, one.output[column])
            given.set_title(one.captions[column], fontsize=8, color=theme.text)
        for row, name in zip(rows, "abc", strict=True):
            row[0].set_ylabel(f"({name})", rotation=0, labelpad=12, color=theme.text)
        rows[0][0].set_title(
            f"{one.label}\n{one.captions[0]}", fontsize=8, color=theme.text, loc="left"
        )
        rows[0][0].set_title("", loc="center")
    return figure


def _show(axes: Axes, image: NDArray[np.float32]) -> None:
    axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, extent=SQUARE)
    axes.set_xlim(-1, 1)
    axes.set_ylim(1, -1)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_grid(axes: Axes, grid: NDArray[np.float32], theme: Theme) -> None:
    """Draws some points of a grid, and its outline through the outermost pixels' centres."""
    height, width, _ = grid.shape
    some = grid[
        np.linspace(0, height - 1, POINTS).round().astype(int)[:, None],
        np.linspace(0, width - 1, POINTS).round().astype(int)[None, :],
    ]
    axes.plot(
        some[..., 0].ravel(), some[..., 1].ravel(), ".", color=theme.series[4], markersize=1.5
    )
    outline = np.concatenate([grid[0], grid[:, -1], grid[-1, ::-1], grid[::-1, 0]])
    axes.plot(outline[:, 0], outline[:, 1], color=theme.series[5], linewidth=1.2)
