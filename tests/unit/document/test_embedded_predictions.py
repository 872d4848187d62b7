"""What a page carries of predictions and pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from support.graded_stores import commit, drawn, labels_of
from support.records import make_cell

from stn_cluster.document.embedded import TestSet, as_text, embed
from stn_cluster.document.evidence import gather
from stn_cluster.document.sheets import ACROSS, SHEET, make_sheets
from stn_cluster.store import Store, load_predictions

ERRORS = {("CNN", "none"): 0.10, ("ST-CNN", "affine"): 0.05}


def test_numbers_are_seven_bits_a_byte() -> None:
    assert base64.b64decode(as_text([0, 127, 128, 300])) == bytes([0, 127, 128, 1, 172, 2])


def test_wrong_predictions_are_those_of_the_store(store: Store) -> None:
    commit(store, drawn(ERRORS, seeds=2, images=500))
    assert store.local_path is not None
    embedded = embed(gather(store.local_path))
    predictions = load_predictions(store)
    assert len(embedded.cells) == 8
    assert embedded.left_out == 0
    for cell in embedded.cells:
        test_set = embedded.test_sets[cell.test_set]
        rows = predictions[predictions["key"] == cell.key].reset_index(drop=True)
        wrong = rows[rows["true_class"] != rows["predicted_class"]]
        images = test_set.wrong[cell.places]
        assert sorted(images) == wrong["image"].tolist()
        assert cell.predicted.tolist() == rows["predicted_class"][images].tolist()
        assert (test_set.truth == labels_of(500)[test_set.wrong]).all()


def test_images_that_most_cells_get_wrong_come_first(store: Store) -> None:
    results = drawn(ERRORS, distortions=("R",), images=500)
    commit(store, results)
    assert store.local_path is not None
    (test_set,) = embed(gather(store.local_path)).test_sets
    times = np.sum([wrong for _, wrong in results], axis=0)
    assert (np.diff(times[test_set.wrong]) <= 0).all()
    assert len(test_set.wrong) == (times > 0).sum()


def test_a_cell_that_a_newer_one_replaces_is_not_carried(store: Store) -> None:
    labels = labels_of(100)
    old, new = (make_cell(revision=revision) for revision in (1, 2))
    commit(store, [(old, labels == 1), (new, labels == 2)])
    assert store.local_path is not None
    (cell,) = embed(gather(store.local_path)).cells
    assert cell.key == new.key


def test_without_room_one_seed_of_every_entry_comes_first(store: Store) -> None:
    commit(store, drawn(ERRORS, seeds=3, images=500))
    assert store.local_path is not None
    embedded = embed(gather(store.local_path), most_bytes=4 * (50 + 25) * 2 + 4)
    assert [cell.seed for cell in embedded.cells] == [0, 0, 0, 0]
    assert embedded.left_out == 8


def make_test_set(count: int, name: str = "a") -> TestSet:
    return TestSet(name, name, "", 1000, 1, None, np.arange(count), np.zeros(count, np.int64))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_sheet_has_each_picture_at_its_place(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, *channels), dtype=np.uint8)
    (sheets,) = make_sheets([make_test_set(20)], {"a": images})
    assert (sheets.side, sheets.pictures, len(sheets.urls)) == (8, 20, 1)
    content = base64.b64decode(sheets.urls[0].partition(",")[2])
    sheet = np.asarray(Image.open(io.BytesIO(content)))
    for place, image in enumerate(images):
        y, x = 8 * (place // ACROSS), 8 * (place % ACROSS)
        assert (sheet[y : y + 8, x : x + 8] == image).all()


def test_pictures_stop_where_there_is_no_room_and_test_sets_take_turns() -> None:
    rng = np.random.default_rng(0)
    sets = [make_test_set(3 * SHEET, name) for name in "ab"]
    images = {name: rng.integers(0, 256, (3 * SHEET, 16, 16), dtype=np.uint8) for name in "ab"}
    one = len(make_sheets([make_test_set(SHEET)], {"a": images["a"][:SHEET]})[0].urls[0])
    found = make_sheets(sets, images, most_bytes=int(3.5 * one))
    assert [sheets.pictures for sheets in found] == [2 * SHEET, SHEET]
    assert sum(len(url) for sheets in found for url in sheets.urls) <= 3.5 * one


def test_large_images_are_made_smaller_and_a_set_without_images_has_no_pictures() -> None:
    images = {"a": np.zeros((2, 200, 200), np.uint8)}
    large, none = make_sheets([make_test_set(2), make_test_set(2, "b")], images)
    assert (large.side, large.pictures, none.pictures, none.urls) == (64, 2, 0, ())
