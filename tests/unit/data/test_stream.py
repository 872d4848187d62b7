"""The stream of training batches and the fixed test set: functions of their names alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell
from torch import Tensor

from stn_cluster.data import distorted_images
from stn_cluster.data import stream as stream_module
from stn_cluster.data.cache import BatchLoader, LabelledImages
from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distorted_images import distorted_test_set
from stn_cluster.data.stream import (
    BLOCK,
    Stream,
    as_images,
    generator,
    make_distortion,
)
from stn_cluster.grid import Cell

VARIANTS = {"R": ("plain", 28), "RTS": ("plain", 42), "P": ("xy-enlarged", 42), "E": ("plain", 28)}
every_distortion = pytest.mark.parametrize("distortion", VARIANTS)


def cell_of(distortion: str = "R", batch_size: int = 16, **fields: object) -> Cell:
    """A cell of that distortion, in its plain variant if `fields` name no other."""
    variant, canvas = VARIANTS[distortion]
    plain = {"variant": variant, "canvas": canvas, "settings": {"batch_size": batch_size}}
    return make_cell(distortion=distortion).model_copy(update=plain | fields)


def stream_of(cell: Cell, n_images: int = 101) -> Stream:
    return Stream(cell.stream, make_distortion(cell), n_images, cell.batch_size)


def dataset(n_test: int = 10, repeats: int = 3) -> Dataset:
    """Image k is a square of brightness 20 (k % 10 + 1), so that it tells its label."""

    def images(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 10
        pixels = torch.zeros(count, 28, 28)
        pixels[:, 6:22, 6:22] = 20.0 * (labels + 1).view(-1, 1, 1)
        return pixels.to(torch.uint8), labels

    return Dataset(*images(57), *images(n_test), test_repeats=repeats)


def labels_seen(images: Tensor) -> Tensor:
    """The labels that the brightness of the distorted squares tells."""
    brightest = images.flatten(1).max(1).values * 255
    return (brightest / 20).round().long() - 1


def feed_of(cell: Cell) -> BatchLoader:
    data = dataset()
    return BatchLoader(cell, LabelledImages(data.train_images, data.train_labels, data.n_classes))


@every_distortion
def test_a_block_is_a_function_of_its_name_alone(distortion: str) -> None:
    cell = cell_of(distortion)
    forward = [stream_of(cell).block(number) for number in range(4)]
    np.random.seed(5)
    torch.manual_seed(5)
    stream_module._shuffle.cache_clear()
    one = stream_of(cell)
    backward = [one.block(number) for number in (3, 2, 0, 1, 2)]
    for number, again in zip((3, 2, 0, 1, 2), backward, strict=True):
        assert torch.equal(forward[number].indices, again.indices)
        assert torch.equal(forward[number].parameters, again.parameters)
    assert forward[0].indices.shape == (BLOCK, 16)
    assert forward[0].parameters.shape[:2] == (BLOCK, 16)
    for first, second in pairwise(forward):
        assert not torch.equal(first.indices, second.indices)
        assert not torch.equal(first.parameters, second.parameters)


@pytest.mark.parametrize(
    "other",
    [
        cell_of(seed=1),
        cell_of(dataset="mnist"),
        cell_of("E"),
        cell_of(variant="another"),
        cell_of(canvas=42),
        cell_of(batch_size=17),
    ],
    ids=["seed", "data set", "distortion", "variant", "canvas", "batch size"],
)
def test_each_part_of_the_name_makes_another_stream(other: Cell) -> None:
    first, second = stream_of(cell_of()).block(0), stream_of(other).block(0)
    assert not torch.equal(first.indices.flatten()[:99], second.indices.flatten()[:99])
    columns = min(first.parameters.shape[2], second.parameters.shape[2])
    ours, theirs = (b.parameters.flatten(0, 1)[:99, :columns] for b in (first, second))
    assert (ours != theirs).any(dim=1).all()


def test_what_is_not_in_the_name_makes_no_other_stream() -> None:
    plain = stream_of(cell_of()).block(1)
    for same in (
        cell_of(model="ST-CNN", transform="tps"),
        cell_of(settings={"batch_size": 16, "iterations": 7}, recipe="paper"),
    ):
        assert torch.equal(stream_of(same).block(1).indices, plain.indices)
        assert torch.equal(stream_of(same).block(1).parameters, plain.parameters)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(1, 700), st.integers(1, 9), st.integers(0, 3))
def test_every_epoch_shows_each_image_exactly_once_across_the_borders_of_blocks(
    n_images: int, batch_size: int, seed: int
) -> None:
    stream = stream_of(cell_of(batch_size=batch_size, seed=seed), n_images)
    seen = torch.cat([stream.block(number).indices.flatten() for number in range(3)])
    whole = len(seen) // n_images * n_images
    for epoch in seen[:whole].view(-1, n_images):
        assert torch.equal(epoch.sort().values, torch.arange(n_images))
    rest = seen[whole:]
    assert len(rest.unique()) == len(rest)
    assert len(rest) == 0 or (rest.min() >= 0 and rest.max() < n_images)


def test_every_epoch_has_another_order() -> None:
    stream = stream_of(cell_of(), n_images=50)
    epochs = stream.block(0).indices.flatten()[:1000].view(-1, 50)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == len(epochs)


def test_generators_are_the_same_in_every_process() -> None:
    """Fixed once: a change of these numbers changes every stream, and so every revision."""
    assert generator("order", "digits", 3).bit_generator.random_raw(2).tolist() == [
        10706225600633050519,
        7806916486809400766,
    ]


@every_distortion
def test_two_feeds_give_the_same_batch_whatever_was_asked_before(distortion: str) -> None:
    cell = cell_of(distortion)
    first, second = feed_of(cell), feed_of(cell)
    asked = {step: first.batch(step) for step in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK)}
    for step in (BLOCK, 3 * BLOCK, 1, BLOCK + 1, 0, BLOCK - 1, BLOCK):
        for ours, theirs in zip(second.batch(step), asked[step], strict=True):
            assert torch.equal(ours, theirs)
    assert not torch.equal(asked[0][0], asked[1][0])


@every_distortion
def test_a_batch_is_the_streams_images_distorted_by_the_streams_parameters(distortion: str) -> None:
    cell, data, step = cell_of(distortion), dataset(), BLOCK + 5
    images, labels = feed_of(cell).batch(step)
    block = stream_of(cell, n_images=57).block(1)
    chosen = as_images(data.train_images[block.indices[5]])
    expected = make_distortion(cell).apply(chosen, block.parameters[5])
    assert torch.equal(images, expected)
    assert torch.equal(labels, data.train_labels[block.indices[5]])
    assert images.shape == (16, 1, cell.canvas, cell.canvas)
    assert torch.equal(labels_seen(images), labels)


def test_pixels_become_fractions_and_the_background_stays_zero() -> None:
    pixels = torch.zeros(2, 28, 28, dtype=torch.uint8)
    pixels[1, 3, 4], pixels[0, 5, 6] = 255, 51
    images = as_images(pixels)
    assert images.shape == (2, 1, 28, 28)
    assert images.dtype == torch.float32
    assert images[1, 0, 3, 4] == 1
    assert images[0, 0, 5, 6] == pytest.approx(0.2)
    assert images.count_nonzero() == 2


def test_the_test_set_is_the_same_for_every_model_seed_and_batch_size() -> None:
    device, data = torch.device("cpu"), dataset()
    expected = distorted_test_set(cell_of("E"), data, device)
    torch.manual_seed(5)
    for cell in (
        cell_of("E"),
        cell_of("E", model="ST-CNN", transform="tps"),
        cell_of("E", seed=7),
        cell_of("E", batch_size=256),
        cell_of("E", recipe="paper"),
    ):
        images, labels = distorted_test_set(cell, data, device)
        assert torch.equal(images, expected[0])
        assert torch.equal(labels, expected[1])


@every_distortion
def test_the_test_set_repeats_every_image_each_time_distorted_anew(distortion: str) -> None:
    data, cell = dataset(n_test=10, repeats=4), cell_of(distortion)
    images, labels = distorted_test_set(cell, data, torch.device("cpu"))
    assert images.shape == (40, 1, cell.canvas, cell.canvas)
    assert labels.tolist() == data.test_labels.tolist() * 4
    assert torch.equal(labels_seen(images), labels)
    for repeat, following in pairwise(images.view(4, 10, -1)):
        assert (repeat != following).any(dim=1).all()


@pytest.mark.parametrize(
    "other",
    [
        cell_of("R", dataset="mnist"),
        cell_of("R", canvas=29),
        cell_of("R", variant="another"),
        cell_of("E"),
    ],
    ids=["data set", "canvas", "variant", "distortion"],
)
def test_other_data_and_distortions_have_another_test_set(other: Cell) -> None:
    device, data = torch.device("cpu"), dataset()
    images, _ = distorted_test_set(cell_of("R"), data, device)
    others, _ = distorted_test_set(other, data, device)
    assert (images[..., :28, :28] != others[..., :28, :28]).flatten(1).any(dim=1).all()


def test_the_test_set_does_not_depend_on_how_many_images_are_distorted_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, data, cell = torch.device("cpu"), dataset(repeats=5), cell_of("P")
    whole, _ = distorted_test_set(cell, data, device)
    monkeypatch.setattr(distorted_images, "TEST_BATCH", 7)
    pieces, _ = distorted_test_set(cell, data, device)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
