"""Data sets: requirements, and the split and images of `digits`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.errors import UserError
from stn_cluster.registry import register_dataset

IMAGES, LABELS = torch.zeros(4, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 2, 9])


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def as_set(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_digits_are_split_into_a_stratified_fifth_and_the_rest(digits: Dataset) -> None:
    assert digits.test_repeats == 10
    assert len(digits.test_images) * digits.test_repeats == 3600
    assert len(digits.train_images) == 1797 - 360
    in_all = np.bincount(load_digits().target)
    in_test = np.bincount(digits.test_labels)
    assert np.abs(in_test - in_all / 5).max() <= 1
    np.testing.assert_array_equal(in_test + np.bincount(digits.train_labels), in_all)


def test_digits_split_shares_no_image_and_loses_none(digits: Dataset) -> None:
    train, test = as_set(digits.train_images), as_set(digits.test_images)
    assert len(test) == 360  # no two of scikit-learn's images are the same
    assert not train & test
    assert len(train | test) == 1797


def test_digits_split_is_the_same_every_time(digits: Dataset) -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    again = load_dataset("digits", Path("anywhere"))
    assert torch.equal(again.train_images, digits.train_images)
    assert torch.equal(again.test_labels, digits.test_labels)


def test_digits_have_an_empty_margin_and_use_the_whole_range(digits: Dataset) -> None:
    for images in (digits.train_images, digits.test_images):
        assert images.min() == 0
        assert images.max() == 255
        outside = images.clone()
        outside[:, 4:24, 4:24] = 0
        assert not outside.any()
        for edge in (images[:, 4], images[:, 23]):
            assert edge.any()


def test_digits_are_scikit_learns_images_enlarged_with_their_labels(digits: Dataset) -> None:
    small, labels = load_digits(return_X_y=True)
    at = (np.arange(20) + 0.5) * 8 / 20 - 0.5  # bilinear, pixel centres
    weights = np.maximum(0, 1 - np.abs(at.clip(0, 7)[:, None] - np.arange(8)))
    large = weights @ small.reshape(-1, 8, 8) @ weights.T * 255 / 16
    ours = torch.cat([digits.train_images, digits.test_images])[:, 4:24, 4:24].double()
    ours_labels = torch.cat([digits.train_labels, digits.test_labels])
    found = torch.cdist(ours.flatten(1), torch.from_numpy(large).flatten(1), p=2).argmin(1)
    assert len(found.unique()) == 1797
    np.testing.assert_allclose(ours.numpy(), large[found], atol=0.5 + 1e-3)
    np.testing.assert_array_equal(ours_labels, labels[found])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": IMAGES.float()}, r"train_images: .* not \(4, 28, 28\) of torch.float32"),
        ({"test_images": IMAGES.to(torch.int64)}, "test_images: .* of torch.int64"),
        ({"train_images": IMAGES[:, :27]}, r"train_images: .* not \(4, 27, 28\)"),
        ({"test_images": IMAGES[:, None]}, r"test_images: .* not \(4, 1, 28, 28\)"),
        ({"train_labels": LABELS[:3]}, "train_labels: one int64 for each image"),
        ({"test_labels": LABELS.int()}, "test_labels: one int64 for each image"),
        ({"test_labels": LABELS[:, None]}, "test_labels: one int64 for each image"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "train_labels: .* at least one"),
        ({"train_labels": LABELS - 1}, "train_labels: from 0 to 9"),
        ({"test_labels": LABELS + 1}, "test_labels: from 0 to 9"),
        ({"n_classes": 9}, "train_labels: from 0 to 8"),
        ({"test_repeats": 0}, "test_repeats: at least 1"),
    ],
)
def test_a_data_set_of_wrong_parts_is_refused_and_the_part_named(
    changed: dict[str, object], message: str
) -> None:
    parts = {"train_images": IMAGES, "train_labels": LABELS}
    parts |= {"test_images": IMAGES, "test_labels": LABELS}
    Dataset(**parts)
    with pytest.raises(ValueError, match=message):
        Dataset(**(parts | changed))


def test_an_unknown_data_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'digits'"):
        load_dataset("digit")


def test_a_data_set_function_that_gives_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stn_cluster.registry.components._entries", {})
    register_dataset("odd")(lambda root: [root])
    with pytest.raises(TypeError, match="'odd' returned list, not a Dataset"):
        load_dataset("odd")
