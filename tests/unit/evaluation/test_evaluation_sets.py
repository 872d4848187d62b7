"""Test sets by distortion, severity and draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.packs import make_cells
from torch import Tensor

from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.data.distortions import CornerShift
from stn_cluster.data.random_state import generator
from stn_cluster.data.stream import as_images, make_distortion
from stn_cluster.errors import UserError
from stn_cluster.evaluation.draws import drawn_images, worst_classes, worst_draws
from stn_cluster.evaluation.evaluation_sets import clean_set, evaluation_set
from stn_cluster.evaluation.ink import ink_of
from stn_cluster.evaluation.known_pose import Pose, PoseTest
from stn_cluster.evaluation.severities import parse_test_distortion
from stn_cluster.evaluations import EvaluationSet
from stn_cluster.grid import Cell
from stn_cluster.registry import register_distortion

CPU = torch.device("cpu")
OWN = ("R", "RTS", "P", "E", "clean", "P:xy", "R:42", "P:28", "E:33", "RTS:rotated-frame")


def cell_of(distortion: str) -> Cell:
    [cell] = make_cells(models=["FCN"], distortions=[distortion])
    return cell


def asked(cell: Cell, text: str, worst_of: int = 1) -> EvaluationSet:
    return evaluation_set(cell, parse_test_distortion(text), worst_of)


def plain(distortion: str) -> DistortedImages:
    return DistortedImages(cell_of(distortion), load_dataset("digits"), CPU)


def shown(test: EvaluationSet, draw: int = 0) -> Tensor:
    return drawn_images(test, load_dataset("digits"), CPU, draw).whole()


@pytest.mark.parametrize("own", OWN)
def test_a_cells_own_distortion_is_its_own_plain_test_set(own: str) -> None:
    cell = cell_of(own)
    name = f"{cell.distortion_name}:{cell.variant}"
    test = asked(cell, name)
    assert test.name == cell.test_set
    assert torch.equal(shown(test), plain(own).whole())


@pytest.mark.parametrize(
    ("own", "other", "same"),
    [
        ("RTS", "R", "R:42"),
        ("RTS", "E", "E:42"),
        ("RTS", "P", "P"),  # it fills 42 pixels by itself
        ("R", "RTS", "RTS:28"),
        ("R", "E", "E"),
        ("R", "P:xy", "P:xy"),
        ("E:33", "P:diagonal", "P:diagonal-33"),
        ("P", "P:xy", "P:xy-42"),
    ],
)
def test_another_distortion_is_that_of_the_cells_canvas(own: str, other: str, same: str) -> None:
    test = asked(cell_of(own), other)
    assert test.name == cell_of(same).test_set
    assert torch.equal(shown(test), plain(same).whole())


@pytest.mark.parametrize("own", OWN)
def test_clean_is_the_image_where_the_cell_has_it(own: str) -> None:
    cell = cell_of(own)
    images = shown(clean_set(cell))
    undistorted = as_images(load_dataset("digits").test_images).repeat(10, 1, 1, 1)
    size = cell.canvas if own in ("P", "P:28") else 28
    wanted = torch.nn.functional.interpolate(
        undistorted[:400], size=(size, size), mode="bilinear", align_corners=False
    )
    margin = (cell.canvas - size) // 2
    if (cell.canvas - size) % 2:  # between two pixels
        assert own == "E:33"
        return
    framed = images[:400, :, margin : margin + size, margin : margin + size]
    inner = slice(1, -1) if size != 28 else slice(None)  # at the edge, interpolate repeats pixels
    torch.testing.assert_close(
        framed[..., inner, inner], wanted[..., inner, inner], atol=2e-5, rtol=0
    )
    assert asked(cell, "clean", 10) == clean_set(cell)  # all draws are the same


@pytest.mark.parametrize("name", ["R", "RTS", "P", "P:xy", "E"])
@pytest.mark.parametrize("severity", [0.0, 0.5, 2.0, 3.0])
def test_severity_multiplies_what_was_drawn(name: str, severity: float) -> None:
    cell, data = cell_of(name), load_dataset("digits")
    drawn = drawn_images(asked(cell, name), data, CPU).parameters().double().numpy()
    worse = (
        drawn_images(asked(cell, f"{name}@{severity:g}"), data, CPU).parameters().double().numpy()
    )
    expected = drawn * severity
    factor = {"R": 1, "RTS": 1, "P": 0}.get(cell.distortion_name)
    if factor is not None:
        expected[:, factor] = np.exp(severity * np.log(drawn[:, factor]))
    np.testing.assert_allclose(worse, expected, rtol=1e-5, atol=1e-5)


def test_where_images_fill_the_canvas_the_others_act_on_enlarged_images() -> None:
    cell, data = cell_of("P"), load_dataset("digits")
    enlarged = asked(cell, "E")
    assert enlarged.cell.data.frame == 42
    drawn = drawn_images(enlarged, data, CPU).parameters()
    usual = generator("test", "digits", "E", "plain", 42).normal(0, 2.25, tuple(drawn.shape))
    np.testing.assert_allclose(drawn.numpy(), usual, rtol=1e-6)
    turned = asked(cell, "R")
    assert torch.equal(drawn_images(turned, data, CPU).parameters(), plain("R:42").parameters())
    assert turned.name != cell_of("R:42").test_set  # other images
    none = shown(asked(cell, "R@0"))
    torch.testing.assert_close(none, shown(clean_set(cell)), atol=2e-5, rtol=0)


def test_moves_of_enlarged_corners_scale_with_the_canvas() -> None:
    test = asked(cell_of("R"), "P")
    drawn = drawn_images(test, load_dataset("digits"), CPU).parameters()
    usual = plain("P:28").parameters()
    torch.testing.assert_close(drawn[:, 1:], usual[:, 1:] * (28 / 42), rtol=1e-5, atol=1e-6)
    assert torch.equal(drawn[:, 0], usual[:, 0])
    assert test.name != cell_of("P:28").test_set
    distortion = drawn_images(test, load_dataset("digits"), CPU).distortion()
    assert isinstance(distortion, CornerShift)


def test_names_tell_all_that_determines_the_images() -> None:
    cell = cell_of("RTS")
    names = [
        *(asked(cell, text).name for text in ("RTS", "RTS@0.5", "RTS@2", "R", "R@2", "P", "E")),
        *(asked(cell, "RTS", k).name for k in (2, 10)),
        asked(cell, "RTS@2", 10).name,
        clean_set(cell).name,
    ]
    assert len(set(names)) == len(names)
    assert asked(cell, "RTS@0").name == clean_set(cell).name


def test_draw_0_is_the_plain_one_and_draw_k_adds_k_to_the_seeds_name() -> None:
    cell, data = cell_of("RTS"), load_dataset("digits")
    test = asked(cell, "RTS", 3)
    assert torch.equal(drawn_images(test, data, CPU, 0).parameters(), plain("RTS").parameters())
    for draw in (1, 2):
        rng = generator("test", "digits", "RTS", "frame", 42, draw)
        drawn = drawn_images(test, data, CPU, draw).parameters().numpy()
        assert np.array_equal(drawn, make_distortion(cell).draw(rng, len(drawn)))


@pytest.mark.parametrize("worst_of", [0, -1, 101])
def test_a_number_of_draws_out_of_range_is_refused(worst_of: int) -> None:
    with pytest.raises(UserError, match="a number of draws from 1 to 100"):
        asked(cell_of("R"), "R", worst_of)


def test_stored_is_the_first_wrong_class_else_the_right_one() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    classes = torch.tensor([[0, 1, 5, 3], [0, 7, 6, 3], [0, 8, 2, 4]])
    assert worst_draws(classes, labels).tolist() == [0, 1, 0, 2]
    assert worst_classes(classes, labels).tolist() == [0, 7, 5, 4]
    assert worst_classes(classes[:1], labels).tolist() == classes[0].tolist()


class Shift:
    """Moves images to the right by whole pixels."""

    canvas = 28

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        return rng.integers(0, 3, (n, 1))

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        moved = [
            torch.roll(image, int(x), -1) for image, x in zip(images, parameters[:, 0], strict=True)
        ]
        return torch.stack(moved)


class ScalableShift(Shift):
    def scaled(self, parameters: Any, severity: float) -> Any:
        return np.round(parameters * severity).astype(int)


class WrongShift(Shift):
    def scaled(self, parameters: Any, severity: float) -> Any:
        return parameters[:-1]


def shifting(registered: None, kind: type[Shift]) -> Cell:
    register_distortion(kind.__name__.lower())(lambda variant, canvas: kind())
    return cell_of(kind.__name__.lower())


def test_a_plug_ins_distortion_scales_as_it_says(registered: None) -> None:
    cell = shifting(registered, ScalableShift)
    assert torch.equal(shown(asked(cell, "scalableshift")), plain("scalableshift").whole())
    drawn = plain("scalableshift").parameters()
    test = asked(cell, "scalableshift@3")
    worse = drawn_images(test, load_dataset("digits"), CPU).parameters()
    assert torch.equal(worse, drawn * 3)
    undistorted = as_images(load_dataset("digits").test_images)
    moved = undistorted[1].roll(int(drawn[1]) * 3, -1)
    assert torch.equal(shown(test)[1], moved)
    assert torch.equal(shown(clean_set(cell))[:360], undistorted)


def test_a_plug_ins_distortion_that_does_not_say_how_it_scales_has_severity_1_only(
    registered: None,
) -> None:
    cell = shifting(registered, Shift)
    assert torch.equal(shown(asked(cell, "shift")), plain("shift").whole())
    for test in (asked(cell, "shift@2"), clean_set(cell)):
        with pytest.raises(UserError, match=r"distortion 'shift' has no `scaled\(.*only 1$"):
            drawn_images(test, load_dataset("digits"), CPU).parameters()


def test_a_plug_ins_distortion_without_a_grid_has_neither_ink_nor_pose(registered: None) -> None:
    cell, data = shifting(registered, ScalableShift), load_dataset("digits")
    images = drawn_images(asked(cell, "scalableshift"), data, CPU)
    assert ink_of(images, data.test_images) is None
    test = PoseTest(images, drawn_images(clean_set(cell), data, CPU))
    assert test.mean([test.identity_errors(0, 10)]) == Pose()


def test_what_a_plug_in_scales_is_checked(registered: None) -> None:
    test = asked(shifting(registered, WrongShift), "wrongshift@2")
    with pytest.raises(UserError, match=r"scaled to severity 2 gives .* \(3599, 1\); expected"):
        drawn_images(test, load_dataset("digits"), CPU).parameters()
