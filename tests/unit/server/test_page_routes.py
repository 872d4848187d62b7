"""What a page gets of a store: the matrix, cells, images, failures, comparisons."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.graded_stores import commit, drawn
from support.pages import page_of
from support.records import make_cell, make_record
from support.reported_stores import FAILURE, commit_digits, digits_cells, fill

from stn_cluster import comparison_table
from stn_cluster.data.test_images import load_test_images
from stn_cluster.queue.jobs import CellName, CellState
from stn_cluster.report.comparison import compare
from stn_cluster.server.matrix_routes import MOST_IMAGES
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store)
    return store


@pytest.fixture
def page(filled: Store) -> TestClient:
    return page_of(filled)


def test_the_matrix_is_the_table_with_its_cells(filled: Store, page: TestClient) -> None:
    view = page.get("/v1/matrix").json()
    table = comparison_table(filled, interval=True)
    found = {
        (
            matrix["dataset"],
            matrix["recipe"],
            row["model"],
            row["transform"],
            entry["distortion"],
        ): entry
        for matrix in view["matrices"]
        for row in matrix["rows"]
        for entry in row["entries"]
        if entry is not None
    }
    assert view["total"] == sum(entry["n_cells"] for entry in found.values())
    assert view["counts"]["failed"] == 1
    for row in table.to_dict("records"):
        names = tuple(row[n] for n in ("dataset", "recipe", "model", "transform", "distortion"))
        if names not in found:
            assert row["status"] == "missing"
            continue
        entry = found[names]
        for name, column in (("error", "test_error_mean"), ("low", "low"), ("high", "high")):
            wanted = None if np.isnan(row[column]) else pytest.approx(row[column])
            assert entry[name] == wanted
        assert entry["marked"] == row["marked"]
        assert entry["counts"] == {row["status"]: entry["n_cells"]}
        assert len(entry["cells"]) == entry["n_cells"]


def test_evaluations_are_there_by_severity(store: Store) -> None:
    from support.evaluated import evaluate_into
    from support.packs import make_cells
    from support.stored import train_into

    distortions = ["R", "E:30"]  # one with a canvas of its own
    train_into(store, make_cells(models=["FCN"], distortions=distortions, recipe={"iterations": 4}))
    evaluate_into(store, on=("R", "E"), severity=(1, 2), worst_of=2)
    (matrix,) = page_of(store).get("/v1/matrix").json()["matrices"]
    assert matrix["severities"] == [1, 2]
    assert matrix["worst_of"] == [2]
    for entry in matrix["rows"][0]["entries"]:
        assert entry["by_severity"]["1"] == pytest.approx(entry["error"])
    assert entry["by_worst_of"]["2"] >= entry["error"]


def test_the_matrix_is_sent_again_only_if_it_has_changed(store: Store) -> None:
    commit(store, drawn({("CNN", "none"): 0.05}))
    page = page_of(store)
    first = page.get("/v1/matrix")
    tag = {"If-None-Match": first.headers["etag"]}
    assert page.get("/v1/matrix", headers=tag).status_code == 304
    store.commit([make_record(make_cell("FCN", "none"))])
    again = page.get("/v1/matrix", headers=tag)
    assert again.status_code == 200
    assert again.json()["total"] == first.json()["total"] + 1


def test_numbers_come_before_intervals_and_filters_hold(page: TestClient) -> None:
    view = page.get("/v1/matrix?interval=false&dataset=letters&model=ST-CNN").json()
    (matrix,) = view["matrices"]
    entries = [entry for row in matrix["rows"] for entry in row["entries"]]
    assert {entry["low"] for entry in entries} == {None}
    assert all(entry["error"] is not None for entry in entries)
    assert {row["model"] for row in matrix["rows"]} == {"ST-CNN"}
    assert page.get("/v1/matrix?job=none").status_code == 404


def test_a_cell_has_all_that_is_known_of_it(filled: Store, page: TestClient) -> None:
    key = digits_cells("CNN")[0].key
    cell = page.get(f"/v1/cells/{key}").json()
    assert cell["label"] == "CNN/none/clean/seed0"
    assert cell["state"] == "succeeded"
    assert cell["spec"]["model"] == "CNN"
    assert cell["repeat"].endswith(f"--key {key}")
    assert cell["predictions"]
    assert cell["confusion"]
    assert not cell["weights"]
    assert not cell["transformer"]
    assert [row["n_wrong"] for row in cell["evaluations"]] == [30]
    assert [row["n_differ"] for row in cell["verifications"]] == [0]
    (attempt,) = cell["attempts"]
    assert attempt["current"]
    assert attempt["state"] == "succeeded"
    assert page.get("/v1/cells/0000000000000000").status_code == 404
    assert page.get("/v1/cells/nothing").status_code == 422


def test_confusion_and_wrong_images_agree(filled: Store, page: TestClient) -> None:
    key = digits_cells("CNN")[0].key
    counts = page.get(f"/v1/cells/{key}/confusion").json()
    matrix = np.array(counts["counts"])
    assert matrix.sum() == counts["n_test"] == 3600
    wrong = page.get(f"/v1/cells/{key}/predictions?which=wrong&limit=256").json()
    assert wrong["total"] == matrix.sum() - np.trace(matrix)
    (truth, predicted) = np.argwhere(matrix - np.diag(np.diag(matrix)))[0]
    query = f"which=wrong&truth={truth}&predicted={predicted}"
    few = page.get(f"/v1/cells/{key}/predictions?{query}").json()
    assert few["total"] == matrix[truth, predicted]
    assert {(i["truth"], i["predicted"]) for i in few["images"]} == {(truth, predicted)}
    every = page.get(f"/v1/cells/{key}/predictions?which=all&offset=10&limit=5").json()
    assert [image["index"] for image in every["images"]] == [10, 11, 12, 13, 14]


def test_images_are_those_that_the_network_saw(filled: Store, page: TestClient) -> None:
    cell = digits_cells("CNN")[0]
    listed = page.get(f"/v1/cells/{cell.key}/predictions?limit=20").json()
    with page:  # which ends the process that draws
        answer = page.get(listed["sheet"])
    assert "immutable" in answer.headers["cache-control"]
    sheet = np.asarray(Image.open(io.BytesIO(answer.content)))
    images = load_test_images(cell, None).images
    for place, image in enumerate(listed["images"]):
        top, left = 28 * (place // listed["across"]), 28 * (place % listed["across"])
        assert np.array_equal(sheet[top : top + 28, left : left + 28], images[image["index"]])


def test_curves_have_steps_and_losses(store: Store) -> None:
    record = make_record(make_cell("CNN", "none"))
    store.commit([record])
    key = record.row["key"]
    curve = page_of(store).get(f"/v1/cells/{key}/curve").json()
    assert curve["step"] == [row["step"] for row in record.curve]
    assert curve["loss"] == [row["train_loss"] for row in record.curve]


def test_failures_of_one_kind_are_together(store: Store) -> None:
    for seed in range(3):
        failed = make_record(make_cell("FCN", "none", seed=seed), None)
        store.commit([replace(failed, row={**failed.row, "error": f"ValueError: at {seed}.5 px"})])
    failed = make_record(make_cell("CNN", "none"), None)
    store.commit([replace(failed, row={**failed.row, "error": f"Traceback\n{FAILURE}\x1b[31m"})])
    found = page_of(store).get("/v1/failures").json()
    assert found["total"] == 4
    assert [group["count"] for group in found["groups"]] == [3, 1]
    assert found["groups"][0]["error"] == "ValueError: at 2.5 px"
    assert found["groups"][1]["error"] == FAILURE
    assert "\x1b" not in found["groups"][1]["text"]


def test_two_cells_are_compared_as_by_the_command(filled: Store, page: TestClient) -> None:
    a, b = (cell.key for cell in digits_cells("CNN", "ST-CNN")[:2])
    found = page.get(f"/v1/compare?a={a}&b={b}").json()
    (pair,) = compare(a, b, store=filled.uri).pairs
    assert (found["p"], found["low"], found["high"]) == (pair.p, pair.low, pair.high)
    assert found["only_a"] == list(pair.only_a)[:MOST_IMAGES]
    other = page.get(f"/v1/compare?a={a}&b=0000000000000000")
    assert other.status_code in (404, 422)


def test_what_can_be_drawn_into_is_listed_with_what_trains_it(
    filled: Store, page: TestClient
) -> None:
    found = page.get("/v1/draw").json()
    kinds = {dataset["name"]: dataset["kind"] for dataset in found["datasets"]}
    assert kinds == {"digits": "digits", "letters": "image"}
    assert not any(cell["weights"] for cell in found["cells"])
    assert all("rerun" in cell["repeat"] for cell in found["cells"])


def test_a_cell_that_can_be_drawn_into_says_where_an_image_is_on_its_canvas(store: Store) -> None:
    plain, enlarged = (make_cell("CNN", distortion=f"P:{name}") for name in ("xy", "xy-enlarged"))
    store.commit([make_record(plain), make_record(enlarged)])
    found = page_of(store).get("/v1/draw").json()["cells"]
    sizes = {cell["key"]: (cell["canvas"], cell["frame"]) for cell in found}
    assert sizes == {plain.key: (plain.canvas, 28), enlarged.key: (42, 42)}


@pytest.mark.parametrize(
    "change",
    [
        {"side": 7},
        {"side": 513},
        {"channels": 2},
        {"pixels": "A" * 5},
        {"keys": []},
        {"keys": ["0" * 16] * 65},
        {"distort": {"kind": "similarity", "angle": "x"}},
        {"distort": {"kind": "similarity", "angle": 1e9}},
        {"distort": {"kind": "corners", "corners": [[0, 0]]}},
        {"distort": {"kind": "points", "points": [[0, None]] * 16}},
        {"distort": {"kind": "other"}},
        {"more": 1},
    ],
)
def test_a_drawing_that_is_none_is_one_line(page: TestClient, change: dict[str, object]) -> None:
    asked = {"dataset": "digits", "side": 8, "channels": 1, "pixels": "", "keys": ["0" * 16]}
    with page:
        refused = page.post("/v1/draw", json=asked | change)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["field"]
    assert "\n" not in error["message"]


def test_one_client_cannot_draw_too_often(page: TestClient) -> None:
    codes = {page.post("/v1/draw", json={}).status_code for _ in range(80)}
    assert codes == {422, 429}


def test_wrong_images_of_a_store_without_labels_have_those_of_the_data_set(store: Store) -> None:
    (cell,) = digits_cells("CNN")
    commit_digits(store, [cell])
    asked = f"/v1/cells/{cell.key}/predictions?which=wrong"
    wanted = page_of(store).get(asked).json()
    assert wanted["total"] > 0
    assert store.local_path is not None
    for file in (store.local_path / "test_sets").glob("2*.parquet"):
        file.unlink()
    assert page_of(store).get(asked).json() == wanted


def test_the_matrix_of_a_job_can_be_filtered(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        SimpleNamespace(cell=CellName.of(cell), state=CellState.QUEUED, step=0)
        for cell in digits_cells("CNN", "FCN", distortions=("R", "E"))
    ]
    monkeypatch.setattr(StoreBackend, "job_cells", lambda self, job: cells)
    client = page_of(filled)
    for query, count in (("", 4), ("&model=CNN", 2), ("&model=CNN&distortion=E", 1)):
        answer = client.get(f"/v1/matrix?job=j{query}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["total"] == count
    assert client.get("/v1/matrix?job=j&model=Nope").status_code == 422
