"""Figures of evaluations: curves by severity, and trained on x tested on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from stn_cluster.errors import UserError
from stn_cluster.figures.severity import MOST_CURVES, OWN, severity_figure
from stn_cluster.figures.transfer_map import transfer_figure


def means(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """Of (trained on, tested on, severity, error)."""
    frame = pd.DataFrame(rows, columns=["trained_on", "on", "severity", "test_error_mean"])
    names: dict[str, object] = {"trained_dataset": "digits", "recipe": "fast", "dataset": "digits"}
    names |= {"n_seeds": 1, "no_room": False}
    return frame.assign(model="CNN", transform="none", worst_of=1, status="succeeded", **names)


def shown_over_each_other(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that overlap once it is drawn."""
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text().strip()]
    placed = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_visible()]
    pairs = itertools.combinations(placed, 2)
    return [(one[0], other[0]) for one, other in pairs if one[1].overlaps(other[1])]


def test_a_curve_begins_at_the_upright_images() -> None:
    rows = means(("R", "clean", 0, 1.0), ("R", "R", 1, 2.0), ("R", "R", 2, 9.0), ("R", "E", 1, 4.0))
    worst = means(("R", "R", 2, 50.0)).assign(worst_of=10)
    figure = severity_figure(pd.concat([rows, worst]))
    assert [axes.get_title("left") for axes in figure.axes] == ["tested on R", "tested on E"]
    (line,) = figure.axes[0].lines
    assert line.get_label() == "CNN, trained on R"
    assert line.get_xydata().tolist() == [[0, 1], [1, 2], [2, 9]]


def test_of_many_networks_those_are_drawn_that_were_trained_on_what_a_panel_is_tested_on() -> None:
    trained, tests = ("R:42", "E", "RTS:frame", "P"), ("R", "E", "RTS:frame")
    some = means(
        *((t, "clean", 0, 0.5) for t in trained),
        *((t, on, s, 1.0 + s) for t in trained for on in tests for s in (0, 1, 2)),
    )
    models = ("FCN", "CNN", "ST-FCN", "ST-CNN")
    few, many = (pd.concat([some.assign(model=m) for m in models[:n]]) for n in (3, 4))
    assert len(severity_figure(few).axes[0].lines) == MOST_CURVES
    assert OWN not in severity_figure(few).get_supxlabel()
    figure = severity_figure(many)
    assert OWN in figure.get_supxlabel()
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == list(models)
        for line in axes.lines:
            assert np.asarray(line.get_xydata()).tolist() == [[0, 1], [1, 2], [2, 3]]
    both = pd.concat([many, many.assign(trained_on=many["trained_on"] + "-30")])  # one name twice
    labels = [line.get_label() for line in severity_figure(both).axes[0].lines]
    assert len(labels) == len(set(labels)) == 32


def test_a_network_that_was_trained_on_upright_images_begins_with_them() -> None:
    rows = means(("clean", "clean", 1, 0.5), ("clean", "R", 1, 20.0), ("clean", "R", 2, 40.0))
    (line,) = severity_figure(rows).axes[0].lines
    assert np.asarray(line.get_xydata()).tolist() == [[0, 0.5], [1, 20], [2, 40]]


def test_test_sets_of_several_data_sets_are_told_apart() -> None:
    rows = means(("R", "clean", 0, 1.0), ("R", "R", 1, 2.0), ("R", "R", 2, 3.0))
    letters = rows.assign(dataset="letters", test_error_mean=rows["test_error_mean"] + 10)
    both = pd.concat([rows, letters])
    figure = severity_figure(both)
    assert [axes.get_title("left") for axes in figure.axes] == [
        "tested on R of digits",
        "tested on R of letters",
    ]
    lines = [np.asarray(axes.lines[0].get_ydata()).tolist() for axes in figure.axes]
    assert lines == [[1, 2, 3], [11, 12, 13]]
    (axes,) = transfer_figure(both).axes
    assert axes.get_title("left") == "digits, recipe fast: test error, %"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        "clean of digits",
        "R of digits",
        "clean of letters",
        "R of letters",
    ]


@pytest.mark.parametrize("draw", [severity_figure, transfer_figure])
def test_without_a_plain_success_there_is_nothing_to_draw(
    draw: Callable[[pd.DataFrame], Figure],
) -> None:
    rows = means(("R", "R", 1, 2.0), ("R", "R", 2, 3.0))
    for none in (rows.assign(status="failed"), rows.assign(worst_of=10), rows[:0]):
        with pytest.raises(UserError, match="`stn-cluster evaluate` makes evaluations"):
            draw(none)


def test_one_severity_is_no_curve() -> None:
    with pytest.raises(UserError, match="no test distortion was evaluated at two severities"):
        severity_figure(means(("R", "R", 1, 2.0)))
    with pytest.raises(UserError, match="of one data set and recipe"):
        severity_figure(pd.concat([means(("R", "R", 1, 2.0))] * 2).assign(recipe=["a", "b"]))


def test_transfer_has_each_error_in_its_square() -> None:
    rows = means(("R", "R", 1, 2.0), ("R", "E", 1, 20.0), ("E", "E", 1, 3.0), ("E", "E", 2, 50.0))
    figure = transfer_figure(rows)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["CNN, R", "CNN, E"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["R", "E"]
    assert not shown_over_each_other(figure)
    errors = [text for text in axes.texts if not isinstance(text, Annotation)]
    shown = {text.get_position(): text.get_text() for text in errors}
    assert shown == {(0, 0): "2.00", (1, 0): "20.00", (1, 1): "3.00"}
    shades = axes.images[0].get_array()
    assert shades is not None
    np.testing.assert_array_equal(np.ma.filled(shades, -1), [[2, 20], [-1, 3]])
    with pytest.raises(UserError, match="`stn-cluster evaluate` makes evaluations"):
        transfer_figure(rows[:0])


def test_captions_name_the_test_images_the_seeds_and_what_has_no_room() -> None:
    rows = means(("R", "R", 1, 2.0), ("R", "RTS", 1, 20.0), ("R", "RTS", 2, 30.0))
    rows = rows.assign(dataset="letters", n_seeds=[3, 2, 2], no_room=rows["on"] == "RTS")
    figure = transfer_figure(rows)
    title = "digits, recipe fast, tested on letters"
    assert figure.axes[0].get_title("left") == f"{title}: test error, %"
    assert {text.get_text() for text in figure.axes[0].texts} >= {"2.00", "20.00*"}
    assert not shown_over_each_other(figure)
    assert "Means over 2 to 3 seeds.\n*: images fill the canvas" in figure.get_supxlabel()
    caption = severity_figure(rows).get_supxlabel()
    assert caption == f"{title}.\nMeans over 2 to 3 seeds."
