"""The tuning experiment: what its arms are, and its standard errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tuning import Trial, arm_named, difference, tuning
from tuning_arms import ARMS, BY_NAME, IMAGES, SEEDS

from stn_cluster.errors import UserError
from stn_cluster.recipes import Recipe


def test_arms_have_names_of_their_own_and_differ_from_what_they_are_compared_with() -> None:
    assert len(BY_NAME) == len(ARMS)
    trial = Trial((), 0.25)
    seen: set[str] = set()
    for arm in ARMS:
        keys, reference = trial.keys(arm), trial.keys(trial.reference(arm))
        assert len(keys) == len(reference) == len(arm.panel) * len(SEEDS)
        assert not set(keys) & set(reference)
        assert not set(keys) & seen
        seen |= set(keys)


def test_all_fields_are_spelled_out_and_as_many_images_are_seen() -> None:
    for arm in ARMS:
        for entry in arm.panel:
            made = Trial((), 0.5).recipe(arm, entry[0])
            assert set(made) == set(Recipe.model_fields)
            images = made["iterations"] * made["batch_size"]
            assert images == pytest.approx((arm.images or IMAGES[entry[0]]) / 2, rel=1e-3)


def test_arms_that_are_kept_change_the_base_of_their_own_models() -> None:
    kept = Trial((BY_NAME["conv-64-6e-3"], BY_NAME["fc-256-1e-3"]), 1.0)
    theta = BY_NAME["theta-1.0"]
    conv, connected = (kept.recipe(theta, model) for model in ("ST-CNN", "ST-FCN"))
    assert (conv["batch_size"], conv["learning_rate"], conv["iterations"]) == (64, 6e-3, 22_000)
    assert (connected["batch_size"], connected["learning_rate"]) == (256, 1e-3)
    assert conv["theta_jitter"] == connected["theta_jitter"] == 1.0
    reference = kept.recipe(kept.reference(theta), "ST-CNN")
    assert reference == conv | {"theta_jitter": 0.0}


def test_some_cells_alone_are_the_same_cells_in_a_table_of_their_own() -> None:
    arm, whole = BY_NAME["elastic-0.5"], Trial((BY_NAME["fc-256-2e-3"],), 1.0)
    alone = Trial(whole.upon, whole.length, ("ST-FCN",))
    assert [entry[0] for entry in alone.panel(arm)] == ["ST-FCN", "ST-FCN"]
    assert set(alone.keys(arm)) < set(whole.keys(arm))
    assert (alone.name, whole.name) == ("1-fc-256-2e-3-ST-FCN", "1-fc-256-2e-3")
    single = Trial((), 1.0, ("ST-FCN", "ST-CNN", "RTS"))
    assert [(entry[0], entry[2]) for entry in single.panel(arm)] == [
        ("ST-CNN", "RTS"),
        ("ST-FCN", "RTS"),
    ]


def test_cells_that_there_are_not_are_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ST-FNC.*ST-FCN"):
        tuning(tmp_path, model=["ST-FNC"])
    with pytest.raises(UserError, match=r"RST.*RTS"):
        tuning(tmp_path, distortion=["RST"])


def test_an_arm_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"conv-64-5e-3.*conv-64-4e-3"):
        arm_named("conv-64-5e-3")


def test_the_standard_error_is_that_of_repeated_experiments() -> None:
    """Images of differing difficulty, shared by all cells; seeds that differ, each by itself."""
    rng = np.random.default_rng(1)
    cells, seeds, images, repeats = 4, 2, 300, 2000
    found, errors = [], []
    for _ in range(repeats):
        before = np.zeros((cells, seeds, images))
        by_image = rng.normal(0, 3, images)
        by_seed = rng.normal(0, 0.2, (cells, seeds, 1))
        mean, error = difference(before, before + 0.7 + by_image + by_seed)
        found.append(mean)
        errors.append(error**2)
    assert np.mean(found) == pytest.approx(0.7, abs=0.02)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(found), rel=0.05)


def test_what_arms_have_in_common_is_no_error() -> None:
    common = np.random.default_rng(1).normal(0, 5, (2, 2, 50))
    assert difference(common, common + 0.5) == (pytest.approx(0.5), pytest.approx(0, abs=1e-9))
