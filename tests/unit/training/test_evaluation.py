"""Testing a model: its two likeliest classes of each image, and what is kept of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from support.packs import make_cells, train
from torch import Tensor, nn

from stn_cluster import register_dataset
from stn_cluster.cluster.rows import to_test_set
from stn_cluster.data.cache import DataCache, DistortedTestSet
from stn_cluster.data.datasets import Dataset
from stn_cluster.training.checked_model import CheckedModel
from stn_cluster.training.evaluation import (
    BATCH,
    NotFiniteError,
    Ranking,
    as_labels,
    as_predictions,
    confusion,
    predict,
    rank,
)

CPU = torch.device("cpu")


class Scores(nn.Module):
    """Gives each image, which is its number, the scores of that row."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, images: Tensor) -> Tensor:
        return self.scores[images]


def checked(scores: Tensor) -> CheckedModel:
    return CheckedModel(Scores(scores), "model 'Scores'", scores.shape[1], False, CPU)


def ranked(scores: Tensor) -> Ranking:
    return rank(checked(scores), torch.arange(len(scores)))


def make_test_set(n: int, n_classes: int, **fields: Any) -> DistortedTestSet:
    labels = torch.arange(n) % n_classes
    given = {"name": "0" * 16, "repeats": 1, "class_names": None} | fields
    return DistortedTestSet(torch.zeros(n, 1, 28, 28), labels, n_classes, **given)


def test_the_two_likeliest_classes_and_their_probabilities_are_those_of_a_full_sort() -> None:
    scores = torch.randn(2 * BATCH + 7, 12, generator=torch.Generator().manual_seed(0)) * 3
    found = ranked(scores)
    order = np.argsort(-scores.numpy(), axis=1, kind="stable")
    np.testing.assert_array_equal(found.first, order[:, 0])
    np.testing.assert_array_equal(found.second, order[:, 1])
    probabilities = softmax(scores.double().numpy(), axis=1)
    for kept, place in ((found.confidence, 0), (found.second_confidence, 1)):
        expected = np.take_along_axis(probabilities, order[:, place : place + 1], 1)[:, 0]
        np.testing.assert_allclose(kept, expected, rtol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 10, 300])
def test_ties_go_to_the_lower_class_and_the_first_is_always_that_of_predict(
    n_classes: int,
) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 3, (500, n_classes), generator=generator).float()
    scores[0] = 0
    found = ranked(scores)
    assert torch.equal(found.first, predict(checked(scores), torch.arange(500)))
    assert torch.equal(found.first, scores.argmax(1))
    order = np.argsort(-scores.numpy(), axis=1, kind="stable")
    np.testing.assert_array_equal(found.second, order[:, 1])
    assert (found.first[0], found.second[0]) == (0, 1)
    assert (found.first != found.second).all()


def test_probabilities_are_kept_in_65_535ths() -> None:
    scores = torch.tensor([[50.0, -50.0], [0.0, 0.0], [1.0, 3.0]])
    kept = as_predictions(ranked(scores), make_test_set(3, 2))
    first, second = (np.frombuffer(b, "<u2") for b in (kept.confidence, kept.second_confidence))
    likelier = 1 / (1 + np.exp(-2.0))
    assert first.tolist() == [65_535, 32_768, round(likelier * 65_535)]
    assert second.tolist() == [0, 32_768, round((1 - likelier) * 65_535)]
    assert np.frombuffer(kept.first, "u1").tolist() == [0, 0, 1]
    assert np.frombuffer(kept.second, "u1").tolist() == [1, 1, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_images_with_a_score_that_is_not_finite_have_no_likeliest_class(bad: float) -> None:
    scores = torch.zeros(2 * BATCH + 7, 3)
    scores[[0, -1], [1, 2]] = bad
    for find in (rank, predict):
        with pytest.raises(NotFiniteError, match=r"model 'Scores' gave .* 2 of 207 test images"):
            find(checked(scores), torch.arange(len(scores)))


def test_a_class_is_never_stored_as_another_one() -> None:
    scores = torch.zeros(3, 301)
    scores[1, 300] = 1
    with pytest.raises(ValueError, match="numbers from 0 to 300 do not fit in <u1"):
        as_predictions(ranked(scores), make_test_set(3, 10))


@pytest.mark.parametrize(("n_classes", "size"), [(256, 1), (257, 2), (65_535, 2)])
def test_a_class_has_as_many_bytes_as_it_needs(n_classes: int, size: int) -> None:
    scores = torch.zeros(3, n_classes)
    scores[:, -1] = 2
    scores[:, -2] = 1
    kept = as_predictions(ranked(scores), make_test_set(3, n_classes))
    assert np.frombuffer(kept.first, f"<u{size}").tolist() == [n_classes - 1] * 3
    assert np.frombuffer(kept.second, f"<u{size}").tolist() == [n_classes - 2] * 3


def test_confusion_counts_true_and_predicted_classes_up_to_256_of_them() -> None:
    counts = confusion(torch.tensor([0, 0, 1, 0]), make_test_set(4, 2))
    assert counts == (1, 1, 2, 0)  # true are 0, 1, 0, 1
    for n_classes, kept in ((256, True), (257, False)):
        found = confusion(torch.zeros(3, dtype=torch.int64), make_test_set(3, n_classes))
        assert (found is not None) == kept


def test_labels_are_kept_with_what_they_are_of() -> None:
    test = make_test_set(600, 300, repeats=3, name="ab" * 8)
    row = to_test_set(as_labels(test, "signs", 7))
    assert row.pop("labels").tolist() == [i % 300 for i in range(600)]
    assert row == {
        **{"test_set": "ab" * 8, "dataset": "signs", "revision": "7"},
        **{"repeats": 3, "class_names": None},
    }


@pytest.mark.usefixtures("registered")
def test_a_cell_of_many_classes_is_trained_and_tested(data: DataCache) -> None:
    n = 300

    @register_dataset("many")
    def many(root: object) -> Dataset:
        images = torch.arange(2 * n).repeat_interleave(28 * 28).view(-1, 28, 28).to(torch.uint8)
        labels = torch.arange(2 * n) % n
        names = tuple(f"class {i}" for i in range(n))
        return Dataset(images, labels, images, labels, n_classes=n, class_names=names)

    [cell] = make_cells(models=["FCN"], dataset="many", recipe={"iterations": 2})
    outcome = train([cell], data)[cell.key]
    assert outcome.confusion is None
    assert outcome.predictions is not None
    assert outcome.labels is not None
    first = np.frombuffer(outcome.predictions.first, "<u2")
    labels = np.frombuffer(outcome.labels.classes, "<u2")
    assert (first != labels).sum() == outcome.n_wrong
    assert outcome.labels.class_names == tuple(f"class {i}" for i in range(n))
    assert outcome.labels.test_set == outcome.predictions.test_set == cell.test_set(28)
    assert outcome.labels.revision == cell.revisions["dataset:many"]


def test_all_cells_of_a_test_set_name_it_and_tell_the_same_labels(data: DataCache) -> None:
    cells = make_cells(models=["FCN", "ST-FCN"], transforms=["none", "affine"], seeds=[0, 1])
    others = make_cells(models=["FCN"], distortions=["R"])
    told = train([*cells, *others], data)
    labels = {told[cell.key].labels for cell in cells}
    assert len(labels) == 1
    [of_others] = [told[cell.key].labels for cell in others]
    assert of_others not in labels
    test = data.test(cells[0])
    [of_cells] = labels
    assert of_cells is not None
    assert np.frombuffer(of_cells.classes, "<u2").tolist() == test.labels.tolist()
    assert len(test.labels) == 3600
    assert of_cells.repeats == 10
    base = test.labels.view(10, 360)
    assert (base == base[0]).all()  # image i is of base image i mod (n / repeats)
