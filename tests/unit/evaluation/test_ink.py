"""Ink that left the canvas, against distorting onto a larger one and looking at what is outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline
from support.packs import make_cells

from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.data.distortions import CornerShift, Similarity, Spline
from stn_cluster.data.stream import as_images
from stn_cluster.evaluation.draws import drawn_images
from stn_cluster.evaluation.evaluation_sets import evaluation_set
from stn_cluster.evaluation.ink import canvas_edge, ink_of, winding_numbers
from stn_cluster.evaluation.severities import parse_test_distortion

CPU = torch.device("cpu")
DATA = load_dataset("digits")


def images_of(own: str, asked: str) -> DistortedImages:
    [cell] = make_cells(models=["FCN"], distortions=[own])
    return drawn_images(evaluation_set(cell, parse_test_distortion(asked)), DATA, CPU)


def lost_of(own: str, asked: str) -> float:
    ink = ink_of(images_of(own, asked), DATA.test_images)
    assert ink is not None
    return ink.share_lost


@pytest.mark.parametrize("own", ["R", "RTS", "P", "E", "clean"])
def test_nothing_is_lost_without_a_distortion(own: str) -> None:
    assert lost_of(own, "clean") == 0


@pytest.mark.parametrize(
    ("own", "asked"), [("RTS", "RTS@3"), ("R", "RTS@3"), ("E", "E@3"), ("R", "P:xy@1.5")]
)
def test_what_is_lost_is_what_a_larger_canvas_shows_outside(own: str, asked: str) -> None:
    images = images_of(own, asked)
    distortion, drawn = images.distortion(), images.parameters()[:360]
    assert isinstance(distortion, Similarity | CornerShift | Spline)
    canvas = distortion.canvas
    large = replace(distortion, canvas=canvas + 120)
    shown = large.apply(as_images(DATA.test_images), drawn).double()
    grid = large.grid(drawn).double()  # its areas: how much of the source a pixel stands for
    dx, dy = (torch.gradient(grid, dim=axis)[0] for axis in (2, 1))
    area = (dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]).abs()
    ink = shown[:, 0] * area
    inside = ink[:, 60 : 60 + canvas, 60 : 60 + canvas].sum()
    images.shape = (360, *images.shape[1:])  # the first version of each image
    found = ink_of(images, DATA.test_images)
    assert found is not None
    lost = found.share_lost
    assert lost == pytest.approx(float(1 - inside / ink.sum()), abs=0.012)
    assert lost > 0.003


def test_more_is_lost_as_it_gets_worse() -> None:
    lost = [lost_of("P", f"P@{severity}") for severity in (0, 0.5, 1, 2, 3)]
    assert lost == sorted(lost)
    assert lost[-1] > 0.2


def test_points_inside_of_a_line_are_found() -> None:
    rng = np.random.default_rng(0)
    edge = canvas_edge(4).numpy()
    lines = edge + rng.normal(0, 0.03, (5, *edge.shape))
    points = rng.uniform(-1.3, 1.3, (200, 2))
    found = winding_numbers(torch.from_numpy(lines), torch.from_numpy(points)) != 0
    for line, inside in zip(lines, found, strict=True):
        assert np.array_equal(inside.numpy(), Outline(line).contains_points(points))
