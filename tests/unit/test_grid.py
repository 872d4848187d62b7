"""Cells: what people call them, and the key of all that determines their result."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stn_cluster.grid import Cell, short_hash
from stn_cluster.training.recipes import Recipe, fast, paper, smoke

# Every value written out: nothing here moves when a default, a recipe or a revision does.
PLAIN = Cell(
    model="CNN",
    transform="none",
    distortion="R",
    variant="plain",
    canvas=28,
    seed=0,
    dataset="digits",
    recipe="fast",
    settings={
        "iterations": 500,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 0.002,
        "schedule": "one-cycle",
        "warmup": 0.15,
    },
    revisions={"model:CNN": 1, "transform:none": 1, "distortion:R": 1, "dataset:digits": 1},
)
SPECIAL = Cell(
    model="ST-CNN",
    transform="tps",
    distortion="P:xy-42",
    variant="xy",
    canvas=42,
    seed=7,
    dataset="mnist",
    recipe="mine+1a2b",
    settings={
        "iterations": 150_000,
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "schedule": "step",
        "step_every": 50_000,
        "by_model": {"ST-CNN": {"learning_rate": 0.001}},
    },
    revisions={"model:ST-CNN": "0123456789ab", "transform:tps": 2, "distortion:P": 1},
    plugins=("mine",),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(**fields: Any) -> Cell:
    return PLAIN.model_copy(update=fields)


def recipe_with(**fields: Any) -> Cell:
    return changed(settings=PLAIN.settings | fields)


def cell_of(recipe: Recipe) -> Cell:
    return changed(settings=recipe.model_dump(mode="json", exclude_defaults=True))


def test_a_label_reads_model_transform_distortion_seed() -> None:
    assert PLAIN.label == "CNN/none/R/seed0"
    assert SPECIAL.label == "ST-CNN/tps/P:xy-42/seed7"


def test_the_keys_of_cells_written_out_in_full_never_change() -> None:
    """Where one does, every result in every store is lost to its cell: that is no small change."""
    assert PLAIN.key == "0755af635e052bff"
    assert SPECIAL.key == "69cd3a4b85b840dc"


@pytest.mark.parametrize(
    "other",
    [
        changed(model="FCN"),
        changed(transform="affine"),
        changed(distortion="E"),
        changed(distortion="R:42", canvas=42),
        changed(distortion="R:other", variant="other"),
        changed(seed=1),
        changed(dataset="mnist"),
        recipe_with(iterations=501),
        recipe_with(learning_rate=0.0021),
        recipe_with(filters=32),
        recipe_with(by_model={"FCN": {"iterations": 9}}),
        changed(revisions=PLAIN.revisions | {"model:CNN": 2}),
        changed(revisions=PLAIN.revisions | {"dataset:digits": "0123456789ab"}),
    ],
)
def test_whatever_determines_a_result_is_in_the_key(other: Cell) -> None:
    assert other.key != PLAIN.key


@pytest.mark.parametrize(
    "same",
    [changed(), changed(recipe="fast+1a2b"), changed(plugins=("mine", "yours")), changed(cost=7.0)],
)
def test_what_does_not_determine_a_result_is_not_in_the_key(same: Cell) -> None:
    assert same.key == PLAIN.key


def test_how_the_distortion_is_spelt_is_not_in_the_key_but_its_variant_and_canvas_are() -> None:
    assert changed(distortion="R:plain-28").key == PLAIN.key


def test_a_revision_as_number_and_as_text_are_two_keys() -> None:
    assert changed(revisions=PLAIN.revisions | {"model:CNN": "1"}).key != PLAIN.key


@pytest.mark.parametrize("make", [paper, fast, smoke])
def test_a_recipe_field_added_at_its_default_changes_no_key(make: Any) -> None:
    class LaterRecipe(Recipe):
        precision: str = "float32"
        ema: float | None = None

    later = LaterRecipe.model_validate(make().model_dump())
    assert cell_of(later).key == cell_of(make()).key
    assert cell_of(later.model_copy(update={"ema": 0.9})).key != cell_of(make()).key


def test_a_cell_field_added_at_its_default_changes_no_key() -> None:
    class LaterCell(Cell):
        severity: float = 1.0

    later = LaterCell.model_validate(PLAIN.model_dump())
    assert later.key == PLAIN.key
    assert later.model_copy(update={"severity": 2.0}).key != PLAIN.key


@pytest.mark.parametrize("cell", [PLAIN, SPECIAL])
def test_a_cell_written_as_json_and_read_back_is_the_same_cell(cell: Cell) -> None:
    again = Cell.model_validate_json(cell.model_dump_json())
    assert again == cell
    assert again.key == cell.key


@settings(derandomize=True, deadline=None)
@given(settings=st.dictionaries(st.text(), JSON, max_size=5), data=st.data())
def test_a_key_is_16_hex_digits_whatever_the_order_of_the_settings(
    settings: dict[str, Any], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(settings.items()))))
    key = changed(settings=settings).key
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert changed(settings=shuffled).key == key


@settings(derandomize=True, deadline=None)
@given(value=JSON, other=JSON)
def test_unequal_values_have_unequal_hashes(value: Any, other: Any) -> None:
    same = repr(value) == repr(other)  # 1, 1.0 and True are equal to Python alone
    assert same or short_hash([value], digits=64) != short_hash([other], digits=64)


@pytest.mark.parametrize("digits", [4, 12, 16])
def test_a_short_hash_is_the_beginning_of_a_longer_one(digits: int) -> None:
    assert short_hash({"a": 1}, digits) == short_hash({"a": 1}, 64)[:digits]


def test_a_number_that_is_none_cannot_be_hashed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        short_hash(float("nan"), digits=4)


@pytest.mark.parametrize(
    "same",
    [
        changed(model="FCN"),
        changed(transform="affine"),
        changed(recipe="smoke"),
        changed(revisions={"model:FCN": 3}),
        recipe_with(iterations=1, learning_rate=1.0),
        changed(distortion="R:plain"),
    ],
)
def test_cells_that_see_the_same_images_share_a_stream(same: Cell) -> None:
    assert same.stream == PLAIN.stream


@pytest.mark.parametrize(
    "other",
    [
        changed(distortion="E"),
        changed(variant="other"),
        changed(canvas=42),
        changed(seed=1),
        changed(dataset="mnist"),
        recipe_with(batch_size=65),
    ],
)
def test_cells_that_see_other_images_have_another_stream(other: Cell) -> None:
    assert other.stream != PLAIN.stream


def test_a_cell_is_a_value_that_takes_no_change_and_no_unknown_field() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PLAIN.seed = 1
    with pytest.raises(ValidationError, match="Extra"):
        Cell.model_validate(PLAIN.model_dump() | {"sead": 1})
