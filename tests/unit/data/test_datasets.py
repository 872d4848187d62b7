"""Data sets: requirements, and the split and images of `digits`."""

from __future__ import annotations

import sys
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


def masked(values: Tensor) -> np.ma.MaskedArray:
    """The same with nothing known of the first."""
    mask = np.zeros(values.shape, bool)
    mask[0] = True
    return np.ma.array(values.numpy(), mask=mask)


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
        ({"train_images": IMAGES / 255}, r"train_images: .* not \(4, 28, 28\) of float32: mult"),
        ({"test_images": IMAGES > 0}, "test_images: .* of bool"),
        ({"test_images": IMAGES.int() + 256}, "test_images: from 0 to 255, not 256 to 256"),
        ({"test_images": IMAGES.int() - 1}, "test_images: from 0 to 255, not -1 to -1"),
        ({"test_images": [[[1, 2], [3]]]}, "test_images: list gives no array: "),
        ({"test_images": None}, "test_images: .* of object"),
        ({"test_images": torch.stack([IMAGES] * 3, 1)}, r"test_images: .* not \(3, 28, 28\)"),
        ({"test_images": torch.stack([IMAGES] * 3, -1)}, "test_images: .*transpose"),
        ({"test_images": torch.stack([IMAGES] * 4, 1)}, r"test_images: .* not \(4, 4, 28, 28\)"),
        ({"train_images": IMAGES[:, :7, :7]}, "train_images: .* 8 to 256"),
        ({"background": 256}, "background: a whole number of 0 to 255"),
        ({"background": (1, 2, 3)}, "background: .* each of 1 channel"),
        ({"train_images": IMAGES[:, :27]}, r"train_images: .* not \(4, 27, 28\)"),
        ({"train_labels": LABELS[:3]}, "train_labels: one for each image, not 3 for 4"),
        ({"test_labels": LABELS[:, None]}, r"test_labels: one whole .* not \(4, 1\) of int64"),
        ({"test_labels": LABELS + 0.5}, "test_labels: whole numbers, not 0.5"),
        ({"test_labels": [0, 1, float("nan"), 2]}, "test_labels: whole numbers, not nan"),
        ({"test_labels": list("abcd")}, r"test_labels: one whole number .* of <U1"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "train_labels: .* at least one"),
        ({"train_labels": LABELS - 1}, "train_labels: from 0 to 9, not -1 to 8"),
        ({"test_labels": LABELS + 1}, "test_labels: from 0 to 9, not 1 to 10"),
        ({"test_labels": [0, 1, 2, 300]}, "test_labels: from 0 to 9, not 0 to 300"),
        ({"n_classes": 9}, "train_labels: from 0 to 8"),
        ({"n_classes": 10.0}, "n_classes: a whole number, not 10.0"),
        ({"n_classes": 65_536}, "n_classes: 2 to 65,535, not 65,536"),
        ({"test_repeats": 0}, "test_repeats: at least 1"),
        ({"test_labels": masked(LABELS)}, "test_labels: 1 of its values are masked"),
        ({"test_images": masked(IMAGES)}, "test_images: 784 of its values are masked"),
        ({"class_names": "0123456789"}, "class_names: a list with one for each of the 10 classes"),
        ({"class_names": ["zero"]}, "class_names: a list with one for each of the 10 classes"),
        ({"class_names": set("0123456789")}, "class_names: a list"),
        ({"class_names": dict.fromkeys("0123456789")}, "class_names: a list"),
        ({"class_names": iter("0123456789")}, "class_names: a list"),
        ({"class_names": 10}, "class_names: a list"),
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


GIVEN = {
    "arrays": (lambda images: images.numpy(), lambda labels: labels.numpy()),
    "read-only arrays": (lambda images: frozen(images.numpy()), lambda labels: labels.numpy()),
    "masked arrays": (lambda images: np.ma.array(images.numpy()), np.ma.array),
    "lists": (lambda images: images.tolist(), lambda labels: labels.tolist()),
    "lists of tensors": (list, list),
    "lists of arrays": (lambda images: list(images.numpy()), lambda labels: list(labels.numpy())),
    "wider numbers": (lambda images: images.to(torch.int64), lambda labels: labels.int()),
    "narrower labels": (lambda images: images, lambda labels: labels.to(torch.uint8)),
    "unsigned labels": (
        lambda images: images.numpy().astype(np.uint16),
        lambda labels: labels.numpy().astype(np.uint64),
    ),
    "labels of a table": (lambda images: images, lambda labels: labels.double()),
    "other bytes": (lambda images: images, lambda labels: labels.numpy().astype(">i4")),
    "a channel": (lambda images: images[:, None], lambda labels: labels),
    "backwards": (lambda images: images.flip(0).numpy()[::-1], lambda labels: labels),
}


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("form", GIVEN)
def test_images_and_labels_in_other_forms_are_the_same_data_set(form: str, digits: Dataset) -> None:
    of_images, of_labels = GIVEN[form]
    images, labels = digits.train_images[:50], digits.train_labels[:50]
    made = Dataset(of_images(images), of_labels(labels), of_images(images), of_labels(labels))
    for part in (made.train_images, made.test_images):
        assert part.dtype == torch.uint8
        assert torch.equal(part, images)
    for part in (made.train_labels, made.test_labels):
        assert part.dtype == torch.int64
        assert torch.equal(part, labels)


def test_numbers_and_names_in_other_forms_are_cast_too() -> None:
    names = [1.5, *range(9)]
    made = Dataset(IMAGES, LABELS, IMAGES, LABELS, n_classes=np.int64(10), class_names=names)
    assert (made.n_classes, type(made.n_classes)) == (10, int)
    assert made.class_names == ("1.5", *map(str, range(9)))


def test_an_unknown_data_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'digits'"):
        load_dataset("digit")


def test_a_data_set_function_that_gives_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stn_cluster.registry.components._entries", {})
    register_dataset("odd")(lambda root: [root])
    with pytest.raises(UserError, match="data set 'odd' gave list, not a Dataset"):
        load_dataset("odd")


def test_a_data_set_that_fails_to_load_is_named_with_the_reason() -> None:
    register_dataset("absent")(lambda root: Path("nowhere.npz").read_bytes())
    register_dataset("wrong")(lambda root: Dataset(IMAGES, LABELS, IMAGES, LABELS + 1))
    register_dataset("leaving")(lambda root: sys.exit("no licence"))
    with pytest.raises(UserError, match=r"data set 'absent' does not load: FileNotFoundError"):
        load_dataset("absent")
    with pytest.raises(UserError, match=r"data set 'wrong' does not load: .* not 1 to 10"):
        load_dataset("wrong")
    with pytest.raises(UserError, match=r"data set 'leaving' does not load: .*no licence"):
        load_dataset("leaving")


@pytest.mark.parametrize("root", [None, Path("elsewhere")])
def test_a_data_set_looks_for_its_files_where_built_in_ones_do(root: Path | None) -> None:
    seen: list[Path] = []
    register_dataset("files")(
        lambda root: [seen.append(root / "x"), Dataset(IMAGES, LABELS, IMAGES, LABELS)][1]
    )
    load_dataset("files", root)
    assert seen == [(root or Path("data")) / "x"]


def test_what_a_plugin_does_to_its_arrays_later_changes_no_data_set() -> None:
    array = np.zeros((4, 28, 28), np.uint8)
    register_dataset("mine")(lambda root: Dataset(array, LABELS, array, LABELS))
    register_dataset("inverse")(
        lambda root: Dataset(np.subtract(255, array, out=array), LABELS, array, LABELS)
    )
    mine = load_dataset("mine")
    assert load_dataset("inverse").train_images.min() == 255
    assert mine.train_images.max() == mine.test_images.max() == 0


def test_a_random_split_is_the_same_in_every_process() -> None:
    def split(root: Path | None) -> Dataset:
        order = np.random.permutation(4)
        return Dataset(IMAGES, LABELS[order], IMAGES, LABELS[torch.randperm(4)])

    register_dataset("split")(split)
    np.random.seed(1)
    once = load_dataset("split")
    np.random.seed(2), torch.manual_seed(2)
    again = load_dataset("split")
    assert torch.equal(once.train_labels, again.train_labels)
    assert torch.equal(once.test_labels, again.test_labels)
