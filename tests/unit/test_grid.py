"""Cells: what people call them, and the key of all that determines their result."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stn_cluster.grid import Cell, Needs, hash_test_set, short_hash, without_canvas
from stn_cluster.recipes import Recipe, fast, paper, smoke

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
        recipe_with(precision="bf16"),
        recipe_with(by_model={"FCN": {"iterations": 9}}),
        changed(revisions=PLAIN.revisions | {"model:CNN": 2}),
        changed(revisions=PLAIN.revisions | {"dataset:digits": "0123456789ab"}),
    ],
)
def test_whatever_determines_a_result_is_in_the_key(other: Cell) -> None:
    assert other.key != PLAIN.key


@pytest.mark.parametrize(
    "same",
    [
        changed(),
        changed(recipe="fast+1a2b"),
        changed(plugins=("mine", "yours")),
        changed(cost=7.0),
        changed(needs=Needs(num_gpus=0.5, accelerator_type="H100", resources={"big": 1})),
    ],
)
def test_what_does_not_determine_a_result_is_not_in_the_key(same: Cell) -> None:
    assert same.key == PLAIN.key


@pytest.mark.parametrize("cell", [PLAIN, SPECIAL], ids=["plain", "special"])
def test_a_copy_with_another_seed_is_what_the_cell_of_that_seed_is(cell: Cell) -> None:
    for seed in (0, 7, 2**31 - 1):
        copied, made = (
            cell.with_seed(seed),
            Cell.model_validate({**cell.model_dump(), "seed": seed}),
        )
        assert copied == made
        assert copied.key == made.key
        assert "".join(copied.spec_parts) == made.model_dump_json()
    assert cell.with_seed(cell.seed).key == cell.key


def test_another_name_of_the_recipe_leaves_the_key_as_it_is() -> None:
    cell = PLAIN.model_copy(update={"recipe": "mine"})
    assert cell.key == cell.renamed("theirs").key == PLAIN.key
    assert cell.renamed("theirs").recipe == "theirs"
    assert "".join(cell.renamed("theirs").spec_parts) == cell.renamed("theirs").model_dump_json()


@pytest.mark.parametrize("deep", [False, True])
def test_a_changed_copy_of_a_cell_has_a_key_of_its_own_also_where_the_key_was_known(
    deep: bool,
) -> None:
    known = PLAIN.key
    copied = PLAIN.model_copy(update={"seed": 5}, deep=deep)
    assert copied.key == Cell.model_validate(PLAIN.model_dump() | {"seed": 5}).key != known
    assert PLAIN.model_copy(deep=deep).key == PLAIN.key == known
    assert PLAIN.model_copy(deep=deep) == PLAIN


def test_how_the_distortion_is_spelt_is_not_in_the_key_but_its_variant_and_canvas_are() -> None:
    assert changed(distortion="R:plain-28").key == PLAIN.key


def test_a_revision_as_number_and_as_text_are_two_keys() -> None:
    assert changed(revisions=PLAIN.revisions | {"model:CNN": "1"}).key != PLAIN.key


@pytest.mark.parametrize("make", [paper, fast, smoke])
def test_a_recipe_field_added_at_its_default_changes_no_key(make: Any) -> None:
    class LaterRecipe(Recipe):
        later_number: float = 0.0
        later_option: float | None = None

    later = LaterRecipe.model_validate(make().model_dump())
    assert cell_of(later).key == cell_of(make()).key
    assert cell_of(later.model_copy(update={"later_option": 0.9})).key != cell_of(make()).key


def test_a_cell_field_added_at_its_default_changes_no_key() -> None:
    class LaterCell(Cell):
        severity: float = 1.0

    later = LaterCell.model_validate(PLAIN.model_dump())
    assert later.key == PLAIN.key
    assert later.model_copy(update={"severity": 2.0}).key != PLAIN.key


def test_a_cell_has_its_recipes_iterations() -> None:
    assert PLAIN.iterations == 500
    assert SPECIAL.iterations == 150_000


@pytest.mark.parametrize("cell", [PLAIN, SPECIAL, changed(needs=Needs(resources={"big": 0.5}))])
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


# --- test sets ---

TEST_SET: dict[str, Any] = {
    **{"dataset": "mnist", "dataset_revision": 1, "distortion": "P", "distortion_revision": 2},
    **{"variant": "xy", "canvas": 42, "frame": 28},
}


def test_a_test_set_is_the_same_for_every_model_seed_and_recipe() -> None:
    others = [
        changed(model="FCN", revisions=PLAIN.revisions | {"model:FCN": 9}),
        *(changed(seed=1), changed(recipe="paper"), recipe_with(batch_size=65)),
        changed(transform="tps"),
    ]
    assert {cell.test_set for cell in others} == {PLAIN.test_set}
    assert re.fullmatch("[0-9a-f]{16}", PLAIN.test_set)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("dataset", "mnist-validation"), ("dataset_revision", 2), ("dataset_revision", "1a2b")),
        *(("distortion", "R"), ("distortion_revision", 3), ("variant", "diagonal")),
        *(("canvas", 28), ("frame", 42), ("severity", 0.5), ("severity", 2), ("worst_of", 10)),
    ],
)
def test_all_that_makes_a_test_sets_images_is_in_its_name(field: str, value: object) -> None:
    assert hash_test_set(**TEST_SET | {field: value}) != hash_test_set(**TEST_SET)


def test_a_test_set_is_plain_unless_something_else_is_said() -> None:
    plain = hash_test_set(**TEST_SET)
    for severity in (1, 1.0):
        assert hash_test_set(**TEST_SET, severity=severity, worst_of=1) == plain
    cell = SPECIAL.model_copy(
        update={
            "dataset": "mnist",
            "revisions": {"dataset:mnist": 1, "distortion:P": 2},
        }
    )
    assert cell.test_set == plain


def test_the_names_of_test_sets_never_change() -> None:
    assert hash_test_set(**TEST_SET) == "a81e32491039f12e"
    assert PLAIN.test_set == "0bafc57b8aa3b3e2"


# --- needs ---


@pytest.mark.parametrize(
    "fields",
    [
        {"num_cpus": -1},
        {"num_gpus": float("nan")},
        {"num_gpus": float("inf")},
        {"num_gpus": 1.5},
        {"num_cpus": 0.00001},
        {"num_gpus": 0.00001},
        {"resources": {"big": 0.00001}},
        {"accelerator_type": ""},
        {"accelerator_type": "H 100"},
        {"resources": {"big": 0}},
        {"resources": {"": 1}},
        {"resources": {"a b": 1}},
        {"resources": {"big": 2.5}},
        {"resources": {"CPU": 1}},
        {"resources": {"GPU": 1}},
        {"resources": {"memory": 1}},
        {"resources": {"object_store_memory": 1}},
        {"num_cpus": 1e13},
        {"num_gpus": 1e308},
        {"resources": {"big": 1e300}},
        {"resources": {f"r{number}": 1 for number in range(101)}},
        {"gpus": 1},
    ],
)
def test_needs_that_no_worker_could_be_asked_for_with_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Needs.model_validate(fields)


def test_equal_needs_are_written_alike_however_they_were_given() -> None:
    one = Needs(num_cpus=1, resources={"a": 1, "b": 0.5})
    other = Needs.model_validate({"resources": {"b": 0.5, "a": 1.0}, "num_cpus": 1.0})
    assert one == other
    assert one.model_dump_json() == other.model_dump_json()


def test_what_is_left_to_the_service_is_left_out() -> None:
    assert Needs().model_dump_json(exclude_defaults=True) == "{}"
    assert Needs(num_gpus=None, resources={}) == Needs() == PLAIN.needs


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("R", "R"),
        ("R:42", "R"),
        ("P:xy", "P:xy"),
        ("P:xy-42", "P:xy"),
        ("P:xy-enlarged-64", "P:xy-enlarged"),
        ("blur-2", "blur-2"),  # a plug-in's
        ("blur-2:30", "blur-2"),
    ],
)
def test_a_distortion_without_its_canvas(name: str, without: str) -> None:
    assert without_canvas(name) == without
