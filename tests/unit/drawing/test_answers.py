"""What networks make of a drawing, against the networks themselves."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.packs import make_cells
from support.records import make_record
from support.stored import train_into

from stn_cluster import load_model, predict, transformations
from stn_cluster.drawing import kept_networks
from stn_cluster.drawing.answers import draw, rounded, turn_until_it_fails
from stn_cluster.drawing.drawn_image import as_frame, decode
from stn_cluster.drawing.drawn_transformations import draw_transformations
from stn_cluster.drawing.hand_distortion import distort_by_hand
from stn_cluster.drawing.layers import draw_layers, layers_of
from stn_cluster.drawing.remembered_store import RememberedStore
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import NotFoundError, UserError
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import Store
from stn_cluster.training.checkpoints import from_bytes, to_bytes

CELLS = make_cells(
    models=["FCN", "CNN", "ST-FCN", "ST-CNN"],
    transforms=["none", "tps"],
    distortions=["RTS"],
    recipe={"iterations": 12, "filters": 8},
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A store with trained cells; tests do not change it."""
    folder = tmp_path_factory.mktemp("drawn") / "store"
    train_into(Store.open(folder, create=True), CELLS)
    return workplace(folder)


def workplace(folder: Path) -> Workplace:
    store = RememberedStore.open(folder)
    store.look()
    return Workplace(store, None)


def seven(**more: Any) -> dict[str, Any]:
    pad = np.zeros((280, 280), np.uint8)
    pad[50:75, 60:220] = 255
    for row in range(75, 240):
        pad[row, 205 - row // 2 : 230 - row // 2] = 255
    pixels = base64.b64encode(pad.tobytes()).decode()
    own = {"dataset": "digits", "side": 280, "channels": 1, "pixels": pixels, "distort": None}
    return own | more


def seen_by(cell: Cell, request: dict[str, Any]) -> torch.Tensor:
    drawing = as_frame(decode(request), "digits", cell.data)
    return distort_by_hand(drawing, cell, request["distort"])


def test_answers_are_what_the_networks_say(place: Workplace) -> None:
    distort = {"kind": "similarity", "angle": 20, "scale": 0.9, "shift": [3, -2]}
    request = seven(keys=[cell.key for cell in CELLS], distort=distort)
    found = json.loads(draw(place, request))
    for cell, answer in zip(CELLS, found["answers"], strict=True):
        model = load_model(place.store, cell.key)
        image = seen_by(cell, request)
        (known,), (confidence,) = (values.tolist() for values in predict(model, image))
        assert answer["first"] == known
        assert answer["probabilities"][known] == pytest.approx(confidence, abs=1e-5)
        order = np.argsort(answer["probabilities"])
        assert answer["second"] == order[-2]
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
        assert torch.allclose(decode(answer["input"]), image[0], atol=1 / 255)
        calls = transformations(model, image)
        if not calls:
            assert answer["grid"] is answer["output"] is None
            continue
        grid, points = calls[0].grid[0], answer["grid"]["points"]
        assert points[0] == pytest.approx(grid[0, 0].tolist(), abs=1e-3)
        assert points[-1] == pytest.approx(grid[-1, -1].tolist(), abs=1e-3)
        assert len(points) == answer["grid"]["rows"] * answer["grid"]["columns"]
        assert torch.allclose(decode(answer["output"]), calls[0].output[0], atol=1 / 255)
    assert torch.equal(decode(found["drawing"]), as_frame(decode(request), "digits", cell.data))


def test_one_that_cannot_answer_does_not_keep_others_from_it(place: Workplace) -> None:
    found = json.loads(draw(place, seven(keys=["0" * 16, CELLS[0].key])))
    unknown, known = found["answers"]
    assert "0" * 16 in unknown["error"]
    assert "first" in known


def test_user_code_that_fails_fails_for_its_own_network(place: Workplace) -> None:
    own = workplace(place.store.local_path or Path())

    def broken(*_: Any) -> None:
        raise RuntimeError("no such tone")

    kept_networks.network(own, CELLS[0].key).model.register_forward_pre_hook(broken)
    request = seven(keys=[CELLS[0].key, CELLS[1].key])
    for function in (draw, turn_until_it_fails):
        failed, other = json.loads(function(own, request))["answers"]
        assert failed == {"key": CELLS[0].key, "error": "RuntimeError: no such tone"}
        assert "first" in other


def test_another_data_set_is_told(place: Workplace) -> None:
    found = json.loads(draw(place, seven(keys=[CELLS[0].key], dataset="mnist")))
    assert found["answers"][0]["error"].endswith("is of the data set digits, not mnist")
    with pytest.raises(UserError, match="data set digits"):
        draw_layers(place, seven(key=CELLS[0].key, dataset="mnist"))


def test_a_drawing_is_turned_until_the_first_guess_changes(place: Workplace) -> None:
    request = seven(keys=[cell.key for cell in CELLS])
    for cell, answer in zip(
        CELLS, json.loads(turn_until_it_fails(place, request))["answers"], strict=True
    ):
        model = load_model(place.store, cell.key)

        def guess(angle: int, cell: Cell = cell, model: Any = model) -> int:
            turned = request | {"distort": {"kind": "similarity", "angle": angle}}
            return int(predict(model, seen_by(cell, turned)).classes)

        assert answer["first"] == guess(0)
        for side, sign in (("left", -1), ("right", 1)):
            angles = range(1, 181)
            wanted = next((a for a in angles if guess(sign * a) != answer["first"]), None)
            assert answer[side] == wanted


def test_layers_are_those_of_plain_modules(place: Workplace) -> None:
    cell = CELLS[1]
    model: Any = load_model(place.store, cell.key)
    image = seen_by(cell, seven())
    layers = {layer.name: layer for layer in layers_of(model, image)}
    assert list(layers) == [
        *("input layer", "convolution layer 1", "downsampling layer 1"),
        *("convolution layer 2", "downsampling layer 2", "output layer"),
    ]
    first, second = model.features[0], model.features[1]
    one = F.conv2d(image, first.weight, first.bias).relu()
    pooled = F.max_pool2d(one, 2, ceil_mode=True)
    two = F.conv2d(pooled, second.weight, second.bias).relu()
    last = F.max_pool2d(two, 2, ceil_mode=True)
    for name, wanted in zip(layers, (image, one, pooled, two, last), strict=False):
        assert torch.allclose(layers[name].values, wanted[0], atol=1e-5)
    scores = F.linear(last.flatten(1), model.classifier.weight, model.classifier.bias)
    assert torch.allclose(layers["output layer"].values, scores.softmax(1)[0], atol=1e-5)


@pytest.mark.parametrize("cell", [CELLS[1], CELLS[3]], ids=lambda cell: cell.label)
def test_a_unit_depends_on_its_receptive_field_alone(place: Workplace, cell: Cell) -> None:
    """By gradients: each pixel outside of the field has none."""
    model: Any = load_model(place.store, cell.key)
    net = model.features if cell.model == "CNN" else model[0].localisation
    image = torch.rand(1, 1, cell.canvas, cell.canvas)
    named = {layer.name: layer for layer in layers_of(model, image)}
    prefix = "" if cell.model == "CNN" else "localisation net, "
    kinds = [name for name in named if name.startswith((f"{prefix}conv", f"{prefix}down"))]
    fields = [(named[name].field, named[name].values.shape) for name in kinds]
    given = image.clone().requires_grad_()
    output = given
    for part in list(net.children()):
        output = part(output)
        if output.ndim != 4:
            break
        match = [field for field, shape in fields if tuple(shape) == tuple(output.shape[1:])]
        if not match or isinstance(part, torch.nn.ReLU):
            continue
        field = match[-1]
        row, column = output.shape[2] // 2, output.shape[3] // 3
        (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), given, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        for places, place_of in ((rows, row), (columns, column)):
            begin = field.start + place_of * field.stride
            assert begin <= int(places.min())
            assert int(places.max()) < begin + field.size


def test_layers_of_a_transformer_are_its_own(place: Workplace) -> None:
    found = json.loads(draw_layers(place, seven(key=CELLS[3].key)))["layers"]
    names = [layer["name"] for layer in found]
    assert names[0] == "input layer"
    assert "localisation net, convolution layer 2" in names
    assert (
        names.index("grid")
        < names.index("transformer's output")
        < names.index("convolution layer 1")
    )
    grid = found[names.index("grid")]
    assert len(grid["points"]) == grid["shape"][0] * grid["shape"][1]
    theta = found[names.index("localisation net, theta")]
    assert theta["shape"] == [32]
    for layer in found:
        if layer["kind"] != "grid":
            assert len(base64.b64decode(layer["pixels"])) == np.prod(layer["shape"])


def test_networks_that_were_used_last_are_kept(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_networks, "MOST", 2)
    own = workplace(place.store.local_path or Path())
    first = [kept_networks.network(own, cell.key) for cell in CELLS[:2]]
    assert kept_networks.network(own, CELLS[0].key) is first[0]
    kept_networks.network(own, CELLS[2].key)  # CELLS[1] was used least
    assert kept_networks.network(own, CELLS[0].key) is first[0]
    assert kept_networks.network(own, CELLS[1].key) is not first[1]


def test_without_weights_the_command_that_trains_it_is_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    train_into(store, CELLS[:1])
    for key, attempt, name in store.checkpoints.all():
        store.checkpoints.drop(key, attempt, name)
    with pytest.raises(NotFoundError, match="stn-cluster rerun --store"):
        draw_layers(workplace(tmp_path / "store"), seven(key=CELLS[0].key))


def rewritten(store: Store, cell: Cell, attempt: str, new: str, change: Any) -> None:
    """Another attempt at a cell, with other weights."""
    rows = store.results(latest=False)
    row = rows[rows["attempt"] == attempt].to_dict("records")[0]
    kept = store.checkpoints.read(cell.key, attempt, WEIGHTS)
    assert kept is not None
    state = from_bytes(kept)
    state["model"] = {name: change(value) for name, value in state["model"].items()}
    store.checkpoints.write(cell.key, new, WEIGHTS, to_bytes(state))
    record = make_record(cell)
    store.commit([replace(record, row={**record.row, "attempt": new, "spec": row["spec"]})])


def test_scores_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    cell = next(one for one in CELLS if one.transform == "tps")
    train_into(store, [cell])
    rewritten(store, cell, "a0", "b0", lambda value: value * float("nan"))
    own, said = workplace(tmp_path / "store"), "scores are not finite numbers"
    for task in (draw, turn_until_it_fails):
        (answer,) = json.loads(task(own, seven(keys=[cell.key])))["answers"]
        assert said in answer["error"]
    with pytest.raises(UserError, match=said):
        draw_layers(own, seven(key=cell.key))


def test_a_point_that_is_infinitely_far_is_a_number() -> None:
    far = torch.tensor([[float("inf"), float("nan")], [-float("inf"), 0.5]])
    assert rounded(far) == [[1000.0, 1000.0], [-1000.0, 0.5]]


def test_a_figure_is_of_the_attempt_that_was_asked_for(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    cell = next(one for one in CELLS if one.transform == "tps")
    train_into(store, [cell])
    asked = {"choice": "random", "count": 2, "images": [], "theme": "light", "key": cell.key}
    first = draw_transformations(workplace(tmp_path / "store"), asked | {"attempt": None})
    rewritten(store, cell, "a0", "b0", lambda value: value + 0.05)
    own = workplace(tmp_path / "store")
    second = draw_transformations(own, asked | {"attempt": None})
    assert first != second
    assert draw_transformations(own, asked | {"attempt": "a0"}) == first
    assert draw_transformations(own, asked | {"attempt": "b0"}) == second
    with pytest.raises(NotFoundError, match="no attempt"):
        draw_transformations(own, asked | {"attempt": "c0"})


def test_rows_are_read_again_only_after_a_change(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    train_into(store, CELLS[:1])
    remembered = workplace(tmp_path / "store").store
    assert len(remembered.results()) == 1
    train_into(store, CELLS[1:2], name="b")
    assert len(remembered.results()) == 1
    remembered.look()
    assert len(remembered.results()) == 2
