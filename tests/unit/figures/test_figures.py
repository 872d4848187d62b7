"""Figures: the right values at the right places, in the right colours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from support.graded_stores import commit, drawn

from stn_cluster.errors import UserError
from stn_cluster.figures.confusion import confusion_figure
from stn_cluster.figures.forest import forest_figure
from stn_cluster.figures.heat_map import matrix_figure
from stn_cluster.figures.images import hardest_figure, saved_figure
from stn_cluster.figures.learning_curves import curves_figure
from stn_cluster.figures.pose import pose_figure
from stn_cluster.figures.theme import DARK, LIGHT, THEMES, Theme, style_of
from stn_cluster.figures.votes import Votes
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store

ERRORS = {("CNN", "none"): 0.10, ("ST-CNN", "affine"): 0.05, ("ST-CNN", "tps"): 0.05}


@pytest.fixture
def table(store: Store) -> pd.DataFrame:
    commit(store, drawn(ERRORS))
    return comparison_table(store, interval=True)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def names_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_forest_plot_has_each_error_with_its_interval(table: pd.DataFrame) -> None:
    figure = forest_figure(table, "R")
    axes = figure.axes[0]
    column = table[table["distortion"] == "R"].set_index(["model", "transform"])
    places = {name: place for place, name in enumerate(names_of(figure))}
    assert list(places) == ["ST-CNN tps", "ST-CNN affine", "CNN"]  # from below
    points = {
        float(y): (float(x), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() == "o"
        for x, y in line.get_xydata()
    }
    spans = {path.vertices[0, 1]: path.vertices[:, 0] for path in axes.collections[0].get_paths()}
    for (model, transform), row in column.iterrows():
        place = places[f"{model} {transform}".removesuffix(" none")]
        assert points[place][0] == row["test_error_mean"]
        np.testing.assert_allclose(spans[place], [row["low"], row["high"]])
        empty = to_hex(points[place][1]) == LIGHT.background
        assert empty == (model == "CNN")
    published = next(line for line in axes.lines if line.get_marker() == "D")
    assert published.get_xdata().tolist() == column["reference_error"].tolist()[::-1]
    assert "for MNIST" in str(published.get_label())
    assert axes.get_xlim()[0] == 0


def test_a_forest_plot_says_nothing_of_what_was_not_compared(store: Store) -> None:
    """Without labels, nothing is marked: no point may look worse than the best."""
    commit(store, drawn(ERRORS), version=1)
    table = comparison_table(store, interval=True)
    assert table["marked"].isna().all()
    lines = forest_figure(table, "R").axes[0].lines
    labels = {str(line.get_label()): line.get_marker() for line in lines}
    assert labels["not compared"] == "x"
    assert not {"may be the best", "worse than the best"} & {*labels}


def test_a_heat_map_has_each_error_in_its_square(table: pd.DataFrame) -> None:
    figure = matrix_figure(table)
    axes = figure.axes[0]
    networks, distortions = names_of(figure), [t.get_text() for t in axes.get_xticklabels()]
    assert (networks, distortions) == (["CNN", "ST-CNN affine", "ST-CNN tps"], ["R", "E"])
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    shades = axes.images[0].get_array()
    assert shades is not None
    for row in table.to_dict("records"):
        name = f"{row['model']} {row['transform']}".removesuffix(" none")
        x, y = distortions.index(row["distortion"]), networks.index(name)
        assert shown[x, y].rstrip("°") == f"{row['test_error_mean']:.2f}"
        assert shown[x, y].endswith("°") == (row["marked"] is True)
        column = table[table["distortion"] == row["distortion"]]["test_error_mean"]
        share = (row["test_error_mean"] - column.min()) / (column.max() - column.min())
        assert shades[y, x] == pytest.approx(share)


def test_entries_without_a_result_say_why(table: pd.DataFrame) -> None:
    table.loc[0, ["test_error_mean", "low", "high"]] = np.nan
    table.loc[0, "status"] = "missing"
    assert "missing" in texts(matrix_figure(table))
    assert "CNN" not in names_of(forest_figure(table, "R"))


def test_a_figure_is_of_one_matrix(table: pd.DataFrame) -> None:
    other = table.assign(dataset="mnist")
    with pytest.raises(UserError, match=r"choose one of digits with .*, mnist with"):
        matrix_figure(pd.concat([table, other]))
    with pytest.raises(UserError, match="nothing to draw"):
        matrix_figure(table[:0])
    with pytest.raises(UserError, match="unknown distortion 'RST': did you mean 'R"):
        forest_figure(table, "RST")


def curve(attempt: str, *losses: float) -> pd.DataFrame:
    steps = range(10, 10 * len(losses) + 1, 10)
    return pd.DataFrame({"attempt": attempt, "step": steps, "train_loss": losses})


def cells(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["model", "transform", "distortion", "seed"])
    found["attempt"] = [f"a{number}" for number in range(len(rows))]
    return found.assign(dataset="digits", recipe="fast")


def test_learning_curves_are_means_over_seeds_with_their_band() -> None:
    results = cells(("CNN", "none", "R", 0), ("CNN", "none", "R", 1), ("FCN", "none", "E", 0))
    curves = pd.concat([curve("a0", 2.0, 1.0), curve("a1", 4.0, 2.0), curve("a2", 3.0, 3.0)])
    figure = curves_figure(results, curves)
    assert [axes.get_title("left") for axes in figure.axes] == ["R", "E"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "CNN")
    assert line.get_xydata().tolist() == [[10, 3], [20, 1.5]]
    band = figure.axes[0].collections[-1].get_paths()[0].vertices
    assert {(x, y) for x, y in band} == {(10, 2), (10, 4), (20, 1), (20, 2)}


def test_without_curves_there_is_nothing_to_draw() -> None:
    with pytest.raises(UserError, match="no cell has a learning curve"):
        curves_figure(cells(("CNN", "none", "R", 0)), curve("other", 1.0))


def test_a_confusion_matrix_sums_its_cells() -> None:
    counts = [np.array([[5, 1], [0, 4]]), np.array([[4, 2], [3, 1]])]
    results = pd.DataFrame({"label": ["a", "b"], "dataset": "pets"})
    results["confusion"] = [one.ravel() for one in counts]
    figure = confusion_figure(results, ["cat", "dog"])
    axes = figure.axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "9", (1, 0): "3", (0, 1): "3", (1, 1): "5"}  # (predicted, true)
    assert names_of(figure) == ["cat", "dog"]
    assert axes.get_title("left") == "2 cells: 6 of 20 images wrong"
    with pytest.raises(UserError, match="no cell has a confusion matrix"):
        confusion_figure(results.assign(confusion=None))


@pytest.fixture
def votes() -> Votes:
    """Image 1 is wrong by all, 2 by those without a transformer, 3 by those with one."""
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 8, 8), np.uint8)
    truth = np.array([0, 1, 2, 3, 4])
    predicted = np.array([[0, 9, 9, 3, 4], [0, 9, 8, 3, 4], [0, 7, 2, 9, 4], [0, 9, 2, 9, 4]])
    return Votes("digits", images, truth, predicted, np.array([False, False, True, True]))


def drawn_images(figure: Figure, axes: slice = slice(None)) -> list[int]:
    return [int(np.asarray(one.images[0].get_array())[0, 0]) for one in figure.axes[axes]]


def test_the_hardest_images_come_first(votes: Votes) -> None:
    figure = hardest_figure(votes)
    assert drawn_images(figure) == [1, 2, 3]  # and none that nobody gets wrong
    assert figure.axes[0].get_title() == "1, 9"  # the usual mistake
    assert [axes.get_xlabel() for axes in figure.axes] == ["4 of 4", "2 of 4", "2 of 4"]
    assert drawn_images(hardest_figure(votes, count=1)) == [1]


def test_images_that_only_transformers_save_or_lose(votes: Votes) -> None:
    figure = saved_figure(votes)
    assert drawn_images(figure) == [2, 3]
    assert [axes.get_xlabel() for axes in figure.axes] == ["100% → 0%", "0% → 100%"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["1 only saved", "1 only lost"]
    alone = Votes("", votes.images, votes.truth, votes.predicted[:2], votes.transformed[:2])
    with pytest.raises(UserError, match="with and without transformers"):
        saved_figure(alone)


def test_a_pose_is_drawn_beside_doing_nothing() -> None:
    rows = pd.DataFrame({"label": "ST-CNN/affine/R/seed0", "on": "RTS", "severity": [1.5]})
    rows = rows.assign(trained_dataset="digits", dataset="digits", recipe="fast", worst_of=1)
    for name, left, nothing in (("degrees", 8.0, 45.0), ("residual_px", 1.5, 6.0)):
        rows[f"pose_{name}"], rows[f"identity_{name}"] = left, nothing
    rows = rows.assign(pose_log2_scale=np.nan, pose_shift_px=np.nan)
    figure = pose_figure(rows)
    assert [axes.get_xlabel() for axes in figure.axes] == ["degrees", "residual, px"]
    assert names_of(figure) == ["ST-CNN/affine/R/seed0 on RTS@1.5"]
    nothing, left = (line.get_xdata().tolist() for line in figure.axes[0].lines)
    assert (nothing, left) == ([45.0], [8.0])
    others = pd.concat([rows, rows.assign(recipe="paper", dataset="letters", worst_of=10)])
    assert names_of(pose_figure(others)) == [
        "ST-CNN/affine/R/seed0 (digits, fast) on RTS@1.5",
        "ST-CNN/affine/R/seed0 (digits, paper) on RTS@1.5 of letters, worst of 10",
    ]
    with pytest.raises(UserError, match="no evaluations with a known pose"):
        pose_figure(rows.assign(pose_residual_px=np.nan))


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_all_text_is_readable_on_its_ground(
    theme: Theme, table: pd.DataFrame, votes: Votes
) -> None:
    figures = [forest_figure(table, "R", theme), saved_figure(votes, theme)]
    for figure in figures:
        assert to_hex(figure.get_facecolor()) == theme.background
        for axes in figure.axes:
            shown = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title, axes._left_title]
            for text in (*shown, axes.xaxis.label, axes.yaxis.label):  # type: ignore[attr-defined]
                if text.get_text():
                    assert text.get_color() == theme.text, text


def test_series_can_be_told_apart_in_both_themes() -> None:
    for theme in (LIGHT, DARK):
        styles = [tuple(style_of(theme, number).values()) for number in range(32)]
        assert len(set(styles)) == 32
        assert theme.background not in theme.series
