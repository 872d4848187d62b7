"""A config's names given their meaning: the cells of its axes and of its list."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell, Needs
from stn_cluster.recipes import Recipe, fast
from stn_cluster.registry import left_out, lookup, parse_distortion, resolve

VARIANTS = {"R": ["plain"], "RTS": ["frame"], "E": ["plain"]}
VARIANTS["P"] = ["xy-enlarged", "xy", "diagonal", "diagonal-enlarged"]
steady = settings(derandomize=True, deadline=None)


def cells_of(**fields: Any) -> list[Cell]:
    return resolve(parse_config(fields))


def only_cell(**fields: Any) -> Cell:
    (cell,) = cells_of(cells=[{"model": "CNN", "distortion": "R"}], **fields)
    return cell


def labels_of(**fields: Any) -> list[str]:
    return [cell.label for cell in cells_of(**fields)]


# --- axes and lists ---


def test_axes_left_out_are_the_papers() -> None:
    assert len(cells_of()) == 32
    assert len(cells_of(seeds=[0, 1, 2])) == 96
    assert labels_of(transforms=["none"], distortions=["E"], models=["CNN"]) == ["CNN/none/E/seed0"]


def test_models_alone_bring_the_transforms_that_they_take() -> None:
    assert {cell.transform for cell in cells_of(models=["FCN", "CNN"])} == {"none"}
    spatial = cells_of(models=["ST-CNN"])
    assert {cell.transform for cell in spatial} == {"affine", "projective", "tps"}


def test_cells_come_in_the_order_of_the_table_seeds_innermost() -> None:
    assert labels_of(
        models=["CNN", "ST-CNN"], transforms=["none", "tps"], distortions=["R", "E"], seeds=[3, 1]
    ) == [
        f"{network}/{distortion}/seed{seed}"
        for network in ("CNN/none", "ST-CNN/tps")
        for distortion in ("R", "E")
        for seed in (3, 1)
    ]


def test_pairs_that_do_not_fit_are_left_out_of_the_product() -> None:
    cells = cells_of(models=["FCN", "ST-FCN"], transforms=["none", "affine"], distortions=["R"])
    assert [(cell.model, cell.transform) for cell in cells] == [
        ("FCN", "none"),
        ("ST-FCN", "affine"),
    ]


def test_listed_cells_alone_are_all_there_is() -> None:
    listed = [
        {"model": "FCN", "distortion": "R"},
        {"model": "ST-CNN", "transform": "tps", "distortion": "P:xy", "seed": 2},
    ]
    assert labels_of(cells=listed) == ["FCN/none/R/seed0", "ST-CNN/tps/P:xy/seed2"]


def test_listed_cells_beside_axes_follow_the_product() -> None:
    listed = [{"model": "FCN", "distortion": "R", "seed": 9}]
    labels = labels_of(cells=listed, models=["CNN"], distortions=["R"])
    assert labels == ["CNN/none/R/seed0", "FCN/none/R/seed9"]


def test_a_listed_cell_has_the_configs_data_set_and_recipe_or_its_own() -> None:
    cell = {"model": "FCN", "distortion": "R"}
    own = cell | {"dataset": "mnist", "recipe": {"name": "smoke", "iterations": 2}}
    configs, its_own = cells_of(dataset="digits", recipe="paper", cells=[cell, own])
    assert (configs.dataset, configs.recipe) == ("digits", "paper")
    assert (its_own.dataset, its_own.recipe[:6]) == ("mnist", "smoke+")
    assert its_own.settings["iterations"] == 2


def test_a_cell_is_the_same_in_whatever_config_it_is_asked_for() -> None:
    (alone,) = cells_of(cells=[{"model": "CNN", "distortion": "R"}])
    assert alone in cells_of(name="other", seeds=[0, 1])


def test_a_cell_knows_the_revision_of_each_component_it_uses() -> None:
    (cell,) = cells_of(models=["ST-CNN"], transforms=["tps"], distortions=["P:xy"])
    assert cell.revisions == {
        "model:ST-CNN": lookup("model", "ST-CNN").revision,
        "transform:tps": lookup("transform", "tps").revision,
        "distortion:P": lookup("distortion", "P").revision,
        "dataset:digits": lookup("dataset", "digits").revision,
    }


def test_what_a_config_needs_each_of_its_cells_needs_and_its_key_does_not_tell() -> None:
    axes: dict[str, Any] = {
        "models": ["CNN", "ST-CNN"],
        "distortions": ["R"],
        "cells": [{"model": "FCN", "distortion": "R"}],
    }
    needs = {"num_cpus": 2, "num_gpus": 0.5, "accelerator_type": "H100", "resources": {"big": 1}}
    needy, plain = cells_of(**axes, needs=needs), cells_of(**axes)
    assert len(needy) == 5
    assert all(cell.needs == Needs.model_validate(needs) for cell in needy)
    assert all(cell.needs == Needs() for cell in plain)
    assert [cell.key for cell in needy] == [cell.key for cell in plain]


def test_how_long_a_cell_may_hang_is_not_told_by_its_key_or_stored_where_it_is_left_out() -> None:
    axes: dict[str, Any] = {"models": ["CNN"], "distortions": ["R"]}
    (hasty,), (plain,) = cells_of(**axes, no_progress_seconds=600), cells_of(**axes)
    assert (hasty.no_progress_seconds, plain.no_progress_seconds) == (600.0, None)
    assert hasty.key == plain.key
    assert Cell.model_validate_json(hasty.model_dump_json()) == hasty
    assert "no_progress" not in plain.model_dump_json()


# --- recipes ---


def test_a_recipe_by_name_and_as_a_mapping_without_changes_are_the_same() -> None:
    assert only_cell(recipe="fast") == only_cell(recipe={"name": "fast"}) == only_cell()
    assert only_cell().recipe == "fast"
    assert Recipe.model_validate(only_cell().settings) == fast().model_copy(update={"by_model": {}})


def test_a_mapping_without_a_name_changes_the_fast_recipe() -> None:
    cell = only_cell(recipe={"iterations": 7})
    assert Recipe.model_validate(cell.settings) == fast().model_copy(
        update={"iterations": 7, "by_model": {}}
    )


def test_an_overridden_recipe_is_named_for_what_it_is() -> None:
    name = only_cell(recipe={"name": "fast", "iterations": 7, "filters": 8}).recipe
    assert re.fullmatch(r"fast\+[0-9a-f]{4}", name)
    assert only_cell(recipe={"filters": 8, "name": "fast", "iterations": 7}).recipe == name
    assert only_cell(recipe={"name": "fast", "iterations": 7}).recipe != name


def test_an_override_that_changes_nothing_keeps_the_name_and_the_key() -> None:
    same = only_cell(recipe={"name": "fast", "filters": [*fast().widths], "momentum": 0})
    assert same == only_cell()


def test_a_whole_number_and_the_same_number_written_as_a_float_are_one_recipe() -> None:
    one, other = (only_cell(recipe={"learning_rate": rate}) for rate in (1, 1.0))
    assert one == other


def test_two_recipes_with_equal_settings_train_the_same_cell() -> None:
    paper_like = Recipe.model_validate(only_cell(recipe="paper").settings).model_dump(mode="json")
    as_fast = only_cell(recipe={"name": "fast", **paper_like})
    assert as_fast.recipe != "paper"
    assert as_fast.key == only_cell(recipe="paper").key


def test_fields_by_model_hold_for_that_model_only() -> None:
    recipe = {"name": "smoke", "by_model": {"CNN": {"learning_rate": 0.5, "iterations": 3}}}
    cnn, fcn = cells_of(models=["CNN", "FCN"], distortions=["R"], recipe=recipe)
    assert (cnn.settings["learning_rate"], cnn.settings["iterations"]) == (0.5, 3)
    plain_cnn, plain_fcn = cells_of(models=["CNN", "FCN"], distortions=["R"], recipe="smoke")
    assert fcn.settings == plain_fcn.settings
    assert cnn.recipe == fcn.recipe != "smoke"
    assert fcn.key == plain_fcn.key  # nothing that is FCN's differs
    assert cnn.key != plain_cnn.key


def test_what_a_config_says_of_all_models_holds_for_those_with_fields_of_their_own() -> None:
    assert fast().by_model["FCN"]["iterations"] != fast().iterations
    axes: dict[str, Any] = {"models": ["FCN", "CNN"], "distortions": ["R"]}
    for cell in cells_of(**axes, recipe={"iterations": 7}):
        assert cell.settings["iterations"] == 7
    own = {"by_model": {"FCN": {"filters": 8}}}  # a config's own stand beside what it says of all
    fcn, cnn = cells_of(**axes, recipe={"iterations": 7, **own})
    assert (fcn.settings["iterations"], fcn.settings["filters"]) == (7, 8)
    assert (cnn.settings["iterations"], cnn.settings["filters"]) == (7, [*fast().widths])
    fcn, cnn = cells_of(**axes, recipe={"filters": 8})
    assert fcn.settings["iterations"] == fast().by_model["FCN"]["iterations"]


def test_costlier_is_what_trains_longer() -> None:
    def cost_of(model: str, transform: str = "none", distortion: str = "R", **recipe: Any) -> float:
        cell = {"model": model, "transform": transform, "distortion": distortion}
        (made,) = cells_of(cells=[cell], recipe={"name": "smoke", **recipe})
        return made.cost

    assert cost_of("FCN") < cost_of("ST-FCN", "tps") < cost_of("CNN") < cost_of("ST-CNN", "tps")
    assert cost_of("CNN") < cost_of("CNN", distortion="RTS")
    assert cost_of("CNN", iterations=16) == 2 * cost_of("CNN", iterations=8)
    assert cost_of("CNN", batch_size=32) == 2 * cost_of("CNN", batch_size=16)
    assert cost_of("CNN", by_model={"CNN": {"iterations": 16}}) == 2 * cost_of("CNN")
    # A transformer that samples straight onto 28x28 spares the classifier the large canvas.
    assert cost_of("ST-CNN", "tps", "RTS") == cost_of("ST-CNN", "tps", "R")


def test_a_model_may_have_its_own_batch_size_and_with_it_its_own_stream() -> None:
    own = {"FCN": {"batch_size": 256, "learning_rate": 0.002}}
    fcn, cnn = cells_of(
        models=["FCN", "CNN"], distortions=["R"], recipe={"batch_size": 64, "by_model": own}
    )
    assert (fcn.batch_size, cnn.batch_size) == (256, 64)
    assert fcn.stream == (*cnn.stream[:-1], 256)


def test_a_pair_of_filters_is_one_recipe_with_its_own_key() -> None:
    pair, one = only_cell(recipe={"filters": [32, 64]}), only_cell(recipe={"filters": 48})
    assert pair.settings["filters"] == [32, 64]
    assert Recipe.model_validate(pair.settings).widths == (32, 64)
    assert Cell.model_validate_json(pair.model_dump_json()).key == pair.key != one.key
    assert only_cell(recipe={"filters": [48, 48]}) == one


# --- distortions ---


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("P", ("P", "xy-enlarged", 42, "P")),
        ("P:xy-enlarged", ("P", "xy-enlarged", 42, "P")),
        ("P:42", ("P", "xy-enlarged", 42, "P")),
        ("P:xy-enlarged-42", ("P", "xy-enlarged", 42, "P")),
        ("P:28", ("P", "xy-enlarged", 28, "P:28")),
        ("P:diagonal", ("P", "diagonal", 28, "P:diagonal")),
        ("P:diagonal-42", ("P", "diagonal", 42, "P:diagonal-42")),
        ("P:xy", ("P", "xy", 28, "P:xy")),
        ("P:xy-42", ("P", "xy", 42, "P:xy-42")),
        ("P:diagonal-enlarged-42", ("P", "diagonal-enlarged", 42, "P:diagonal-enlarged")),
        ("P:diagonal-enlarged-28", ("P", "diagonal-enlarged", 28, "P:diagonal-enlarged-28")),
        ("RTS", ("RTS", "frame", 42, "RTS")),
        ("RTS:42", ("RTS", "frame", 42, "RTS")),
        ("RTS:plain", ("RTS", "plain", 42, "RTS:rotated-frame")),
        ("RTS:60", ("RTS", "frame", 60, "RTS:60")),
        ("R:42", ("R", "plain", 42, "R:42")),
        ("R:plain-42", ("R", "plain", 42, "R:42")),
        ("E:128", ("E", "plain", 128, "E:128")),
    ],
)
def test_a_distortion_has_one_canonical_name(text: str, parsed: tuple[str, str, int, str]) -> None:
    assert parse_distortion(text) == parsed


distortions = st.sampled_from(sorted(VARIANTS)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.sampled_from(VARIANTS[name]), st.integers(min_value=28, max_value=128)
    )
)


@steady
@given(distortions)
def test_a_canonical_name_is_read_back_as_what_it_names(triple: tuple[str, str, int]) -> None:
    name, variant, canvas = triple
    *parsed, canonical = parse_distortion(f"{name}:{variant}-{canvas}")
    assert tuple(parsed) == triple
    assert parse_distortion(canonical) == (*triple, canonical)
    assert len(canonical) <= len(f"{name}:{variant}-{canvas}")


@steady
@given(distortions, distortions)
def test_distortions_that_differ_have_names_that_differ(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    names = [parse_distortion("{}:{}-{}".format(*triple))[3] for triple in (one, other)]
    assert (one == other) == (names[0] == names[1])


def test_a_listed_cell_changes_the_configs_recipe_or_names_its_own() -> None:
    listed = [
        {"model": "FCN", "distortion": "R"},
        {"model": "FCN", "distortion": "R", "recipe": {"iterations": 5}},
        {"model": "FCN", "distortion": "R", "recipe": "smoke"},
    ]
    recipe = {"name": "paper", "batch_size": 32}
    plain, changed, other = cells_of(cells=listed, recipe=recipe)
    assert (plain.settings["iterations"], plain.settings["batch_size"]) == (150_000, 32)
    assert (changed.settings["iterations"], changed.settings["batch_size"]) == (5, 32)
    assert changed.recipe.startswith("paper+")
    assert other.recipe == "smoke"


def test_without_a_name_the_recipe_is_fast() -> None:
    assert only_cell().recipe == "fast"
    assert only_cell(recipe={"iterations": 5}).recipe.startswith("fast+")


# --- what the product leaves out ---


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, None),
        ({"models": ["CNN"]}, None),
        ({"models": ["ST-CNN"], "transforms": ["affine", "tps"]}, None),
        ({"cells": [{"model": "CNN", "distortion": "R"}]}, None),
        (
            {"models": ["CNN", "ST-CNN"], "transforms": ["none", "affine"]},
            "not in the grid: CNN with affine (no transformer); ST-CNN with none (a transformer "
            "needs a transform)",
        ),
        (
            {"models": ["FCN", "CNN", "ST-FCN"]},
            "not in the grid: FCN, CNN with affine, projective, tps (no transformer); ST-FCN with "
            "none (a transformer needs a transform)",
        ),
    ],
    ids=str,
)
def test_what_the_axes_name_and_the_grid_lacks_is_one_line(
    fields: dict[str, object], line: str | None
) -> None:
    config = parse_config(fields)
    assert resolve(config)
    assert left_out(config) == line
