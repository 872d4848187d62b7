"""Packs of evaluations: the same predictions as a test's own code, the same alone as together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.evaluated import CPU, evaluate, evaluate_into, wanted
from support.packs import make_cells
from support.plain_networks import distorted, scores
from support.stored import train_into
from torch import Tensor, nn

from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.stream import as_images
from stn_cluster.evaluation.draws import drawn_images
from stn_cluster.evaluation.subjects import Subject
from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.registry import register_distortion, register_model
from stn_cluster.store import Store, load_evaluations, load_results
from stn_cluster.training.checkpoints import from_bytes
from stn_cluster.training.outcome import Outcome

DATA = load_dataset("digits")
RECIPE = {"name": "fast", "iterations": 60, "filters": 8, "hidden_units": 64}
MODELS = {"models": ["CNN", "ST-FCN", "ST-CNN"], "transforms": ["none", "affine", "tps"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with twenty cells, which have learnt something; the tests only read it."""
    store = Store.open(tmp_path_factory.mktemp("trained") / "store", create=True)
    for distortion in ("R", "RTS", "P", "E"):
        cells = make_cells(distortions=[distortion], recipe=RECIPE, **MODELS)
        train_into(store, cells, name=distortion)
    return store


def classes_of(outcome: Outcome) -> Tensor:
    assert outcome.error is None, outcome.error
    assert outcome.predictions is not None
    return torch.from_numpy(np.frombuffer(outcome.predictions.first, np.uint8).copy()).long()


def own_scores(store: Store, evaluation: Evaluation, draw: int = 0, count: int = 720) -> Tensor:
    """Scores of the first images in one draw, by the tests' own distortions and networks."""
    [row] = load_results(store, key=evaluation.cell.key).to_dict("records")
    data = store.checkpoints.read(evaluation.cell.key, row["attempt"], WEIGHTS)
    assert data is not None
    parameters = drawn_images(evaluation.test, DATA, CPU, draw).parameters()[:count]
    images = as_images(DATA.test_images).repeat(10, 1, 1, 1)[:count]
    seen = distorted(evaluation.test.cell, images, parameters)
    return scores(evaluation.cell, from_bytes(data)["model"], seen)


def agree(found: Tensor, given: Tensor) -> None:
    """The classes are those of the largest scores, unless two are nearly the same."""
    best = given.topk(2, 1).values
    decided = best[:, 0] - best[:, 1] > 1e-3
    assert decided.float().mean() > 0.99
    assert torch.equal(found[decided], given.argmax(1)[decided])


RANDOM = np.random.default_rng(17).choice(20 * 13, 12, replace=False)


@pytest.mark.parametrize("number", RANDOM)
def test_random_evaluations_predict_what_plain_pytorch_predicts(
    trained: Store, number: int
) -> None:
    asked = wanted(trained, on=("clean", "R", "RTS", "P", "E"), severity=(0.5, 1, 2))
    evaluation = asked[number]
    found = classes_of(evaluate(trained, [evaluation])[evaluation.key])
    given = own_scores(trained, evaluation)
    assert len(given.argmax(1).unique()) > 3  # it tells something
    agree(found[: len(given)], given)


def test_worst_of_several_draws_is_that_of_plain_pytorch_and_never_better(trained: Store) -> None:
    asked = wanted(trained, on=["RTS"], worst_of=3, filters={"model": "CNN", "distortion": "R"})
    plain, worst = asked
    outcomes = evaluate(trained, asked)
    draws = torch.stack([own_scores(trained, worst, draw).argmax(1) for draw in range(3)])
    labels = DATA.test_labels.repeat(10)[:720]
    wrong = draws != labels
    expected = [
        next((int(c) for c, bad in zip(column, w, strict=True) if bad), int(label))
        for column, w, label in zip(draws.T, wrong.T, labels, strict=True)
    ]
    found = classes_of(outcomes[worst.key])[:720]
    assert (found != torch.tensor(expected)).sum() <= 3  # rounding, where two scores are the same
    n_wrong = [outcomes[one.key].n_wrong for one in (plain, worst)]
    assert n_wrong[0] is not None
    assert n_wrong[1] is not None
    assert n_wrong[1] > n_wrong[0]


def test_the_own_plain_test_is_that_of_the_stored_predictions_without_the_network(
    trained: Store, tmp_path: Path
) -> None:
    [cell] = make_cells(models=["CNN"], distortions=["R"], recipe=RECIPE)
    store = Store.open(tmp_path / "store", create=True)
    outcome = train_into(store, [cell])[cell.key]
    store.checkpoints.drop(cell.key, "a0", WEIGHTS)
    [evaluation] = evaluate_into(store, on=["R"])
    assert evaluation.is_own_test
    [row] = load_evaluations(store).to_dict("records")
    assert (row["test_set"], row["n_wrong"]) == (cell.test_set, outcome.n_wrong)
    assert (row["status"], row["attempt"], row["severity"]) == ("succeeded", "a0", 1)
    assert row["ink_lost"] == pytest.approx(0.0, abs=0.02)


def test_the_own_plain_test_of_a_transformer_has_its_pose(trained: Store) -> None:
    [evaluation] = wanted(trained, on=["RTS"], filters={"model": "ST-FCN", "distortion": "RTS"})[:1]
    outcome = evaluate(trained, [evaluation])[evaluation.key]
    [row] = load_results(trained, key=evaluation.cell.key).to_dict("records")
    assert outcome.n_wrong == row["n_wrong"]
    assert outcome.measures["pose_degrees"] is not None
    drawn = drawn_images(evaluation.test, DATA, CPU).parameters().double()
    angle, scale, x, y = drawn.unbind(1)
    assert outcome.measures["identity_degrees"] == pytest.approx(float(angle.abs().mean()), abs=0.1)
    log2 = float(scale.log2().abs().mean())
    assert outcome.measures["identity_log2_scale"] == pytest.approx(log2, abs=0.01)
    shift = float((x * x + y * y).sqrt().mean())
    assert outcome.measures["identity_shift_px"] == pytest.approx(shift, abs=0.05)


def test_severity_1_of_the_network_is_the_stored_test_bit_for_bit(trained: Store) -> None:
    """The network itself, where its predictions are not stored."""
    filters = {"distortion": "RTS"}
    for evaluation in wanted(trained, on=["RTS"], filters=filters):
        stored = trained.predicted_classes(set(_attempts(trained, evaluation)))
        [classes] = stored.values()
        name = evaluation.test.name
        outcome = evaluate(_WithoutPredictions(trained), [evaluation])[evaluation.key]  # type: ignore[arg-type]
        assert outcome.predictions is not None
        assert (outcome.predictions.test_set, list(outcome.predictions.first)) == (name, classes)


class _WithoutPredictions:
    """A store that has forgotten predictions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def predicted_classes(self, attempts: Any) -> dict[str, list[int]]:
        return {}


def _attempts(store: Store, evaluation: Evaluation) -> Sequence[str]:
    return list(load_results(store, key=evaluation.cell.key)["attempt"])


def test_an_evaluation_is_the_same_alone_and_in_any_pack(trained: Store) -> None:
    asked = wanted(
        trained,
        on=("clean", "R", "RTS@2"),
        worst_of=2,
        filters={"distortion": ["R", "P"], "transform": ["none", "tps"]},
    )
    together = evaluate(trained, asked)
    for evaluation in asked[::7]:
        alone = evaluate(trained, [evaluation])[evaluation.key]
        other = together[evaluation.key]
        assert alone == replace(other, labels=alone.labels)


def test_errors_rise_with_severity_and_clean_has_no_pose(trained: Store) -> None:
    filters = {"distortion": ["R", "E"], "model": ["CNN", "ST-FCN"], "transform": ["none", "tps"]}
    asked = wanted(trained, on=("R", "RTS", "clean"), severity=(0.5, 1, 2), filters=filters)
    outcomes = evaluate(trained, asked)
    for on in ("R", "RTS"):
        means = [
            np.mean([outcomes[e.key].n_wrong for e in asked if e.on == name])
            for name in (f"{on}@0.5", on, f"{on}@2")
        ]
        assert means == sorted(means)
        assert means[2] > means[1]
    clean = [outcomes[e.key] for e in asked if e.on == "clean"]
    assert all(one.measures["ink_lost"] == 0 for one in clean)
    assert all(one.measures["pose_degrees"] is None for one in clean)


def test_what_fails_ends_only_its_own_cell(trained: Store, tmp_path: Path) -> None:
    cells = make_cells(models=["FCN", "CNN"], distortions=["R"], recipe={"iterations": 2})
    store = Store.open(tmp_path / "store", create=True)
    train_into(store, cells)
    store.checkpoints.write(cells[0].key, "a0", WEIGHTS, b"damaged")
    store.checkpoints.drop(cells[1].key, "a1", WEIGHTS)
    outcomes = evaluate(store, asked := wanted(store, on=("R", "E")))
    by_name = {(one.cell.model, one.on): outcomes[one.key] for one in asked}
    assert by_name["FCN", "R"].error is None
    assert "damaged" in str(by_name["FCN", "E"].error)
    assert "this trains it: stn-cluster rerun" in str(by_name["CNN", "E"].error)
    assert by_name["CNN", "R"].error is None


class Halves:
    """A plug-in's distortion: darker images. It does not say how it scales."""

    canvas = 28

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        return rng.uniform(0.5, 1, (n, 1))

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return images * parameters.view(-1, 1, 1, 1)


def test_a_plug_ins_distortion_without_a_grid_has_neither_ink_nor_pose(
    registered: None, store: Store
) -> None:
    register_distortion("halves")(lambda variant, canvas: Halves())
    cells = make_cells(
        models=["ST-FCN"], transforms=["affine"], distortions=["R"], recipe={"iterations": 2}
    )
    train_into(store, cells)
    [evaluation] = wanted(store, on=["halves"])
    outcome = evaluate(store, [evaluation])[evaluation.key]
    assert outcome.error is None
    assert set(outcome.measures.values()) == {None}


class Noisy(nn.Module):
    """A plug-in's network that draws random numbers in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.linear(images.flatten(1))
        return scores + torch.randn_like(scores)


def test_a_network_that_draws_predicts_the_same_in_any_pack(registered: None, store: Store) -> None:
    register_model("noisy")(lambda task: Noisy())
    train_into(store, make_cells(models=["noisy"], distortions=["R"], recipe={"iterations": 2}))
    asked = wanted(store, on=("R@2", "RTS"), worst_of=2)
    together = evaluate(store, asked)
    for evaluation in asked:
        alone = evaluate(store, [evaluation])[evaluation.key]
        assert alone.predictions == together[evaluation.key].predictions


def test_a_network_is_asked_for_its_grid_only_if_one_transformer_reads_the_images() -> None:
    [cell] = make_cells(models=["FCN"], distortions=["R"])
    assert not _subject(cell, nn.Sequential(nn.Flatten(), nn.Linear(784, 10))).has_transformer


def _subject(cell: Cell, model: nn.Module) -> Subject:
    return Subject(cell, model, 10, CPU)
