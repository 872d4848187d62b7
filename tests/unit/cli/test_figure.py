"""`figure`: a file of each kind, or one line that says what is wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.graded_stores import commit, drawn
from support.records import PREDICTIONS, make_record
from support.refusals import Command, assert_refused, make_command
from support.stored import train_into

from stn_cluster.config_file import parse_config
from stn_cluster.data.datasets import load_dataset
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.store import Record, Store

ERRORS = {("CNN", "none"): 0.10, ("ST-CNN", "affine"): 0.05}
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def filled(store: Store) -> Path:
    commit(store, drawn(ERRORS))
    assert store.local_path is not None
    return store.local_path


@pytest.mark.parametrize("format", MAGIC)
@pytest.mark.parametrize("kind", ["matrix", "forest"])
def test_a_figure_is_written_in_the_format_of_its_name(
    kind: str, format: str, filled: Path, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "figures" / f"one.{format}"
    told = command(
        *("figure", kind, "--store", filled, "--distortion", "R", "--output", output, "--dark")
    )
    assert (told.code, told.out, told.err) == (0, f"{output}\n", "")
    assert output.read_bytes().startswith(MAGIC[format])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with weights: of networks with and without transformers, and of two recipes."""
    store = Store.open(tmp_path_factory.mktemp("trained") / "store", create=True)
    fields = {"models": ["FCN", "ST-FCN"], "transforms": ["none", "affine"], "distortions": ["R"]}
    for name, recipe in (("a", "smoke"), ("b", {"name": "smoke", "iterations": 12})):
        train_into(store, resolve(parse_config({"recipe": recipe, **fields})), name)
    return store


@pytest.mark.parametrize(
    "chosen",
    [[], ["--choose", "worst", "--count", "2"], ["--choose", "improved"], ["--image", "3599"]],
    ids=" ".join,
)
def test_transformations_are_drawn_of_trained_cells(
    chosen: list[str], trained: Store, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "one.png"
    given = ("figure", "transformations", "ST-FCN/affine/R", *chosen, "--store", trained.uri)
    told = command(*given, "--recipe", "smoke", "--output", output)
    assert (told.code, told.out, told.err) == (0, f"{output}\n", "")
    assert output.read_bytes().startswith(MAGIC["png"])


@pytest.mark.parametrize("choice", ["worst", "improved"])
def test_images_cannot_be_chosen_by_predictions_that_are_not_there(
    choice: str, trained: Store, tmp_path: Path, command: Command
) -> None:
    shutil.copytree(trained.uri, tmp_path / "store")
    for path in (tmp_path / "store" / "predictions").iterdir():
        if path.name != "0-schema.parquet":
            path.unlink()
    given = ("ST-FCN/affine/R", "--recipe", "smoke", "--choose", choice, "--output", "one.png")
    told = command("figure", "transformations", *given, "--store", tmp_path / "store")
    assert_refused(told, "ST-FCN/affine/R/seed0: its predictions are not in the store")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "name the cells to draw"),
        (["ST-FCN/affine/R"], "ST-FCN/affine/R: which of recipe='smoke'; recipe='smoke+"),
        (["ST-FCN/affine/R", "--recipe", "fast"], "no cell matches recipe=fast"),
        (
            ["FCN/none/R", "--recipe", "smoke"],
            "FCN/none/R/seed0: its network has no spatial transformer",
        ),
        (["ST-FCN/tps/R"], "unknown cell 'ST-FCN/tps/R'"),
        (["ST-FCN/affine/R", "--recipe", "smoke", "--image", "3600"], "images 0 to 3,599"),
        (["ST-FCN/affine/R", "--choose", "best"], "unknown choice of images 'best'"),
    ],
)
def test_transformations_that_cannot_be_drawn_are_said_in_a_line(
    arguments: list[str], part: str, trained: Store, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "one.png"
    given = ("figure", "transformations", *arguments, "--store", trained.uri)
    assert_refused(command(*given, "--output", output), part)
    assert not output.exists()


@pytest.mark.parametrize("kind", ["hardest", "saved"])
def test_images_are_those_that_the_networks_were_tested_on(
    kind: str, store: Store, tmp_path: Path, command: Command
) -> None:
    """Digits need no files; each network gets another image wrong."""
    cells = resolve(
        parse_config({"recipe": "smoke", "models": ["CNN", "ST-CNN"], "distortions": ["clean"]})
    )
    store.commit([wrong_at(cell, place) for place, cell in enumerate(cells)])
    output = tmp_path / "one.png"
    told = command("figure", kind, "--store", str(store.local_path), "--output", output)
    assert (told.code, told.err) == (0, "")
    assert output.stat().st_size > 5000


def test_images_of_several_recipes_are_not_mixed(
    store: Store, tmp_path: Path, command: Command
) -> None:
    fields = {"models": ["CNN", "ST-CNN"], "distortions": ["clean"]}
    for recipe in ("smoke", {"name": "smoke", "iterations": 30}):
        cells = resolve(parse_config({"recipe": recipe, **fields}))
        store.commit([wrong_at(cell, place) for place, cell in enumerate(cells)])
    given = ("figure", "saved", "--store", store.uri, "--output", tmp_path / "one.png")
    assert_refused(command(*given), "choose one of digits, smoke, clean; digits, smoke+")
    assert command(*given, "--recipe", "smoke").code == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n_wrong": 7}, "its stored predictions do not have the errors of its row"),
        ({"spec": "{}"}, "the store has no labels"),
    ],
)
def test_images_are_not_drawn_of_rows_that_do_not_fit(
    store: Store, tmp_path: Path, command: Command, change: dict[str, object], reason: str
) -> None:
    [cell] = resolve(parse_config({"recipe": "smoke", "models": ["CNN"], "distortions": ["clean"]}))
    record = wrong_at(cell, 0)
    store.commit([replace(record, row=record.row | change)])
    given = ("figure", "hardest", "--store", store.uri, "--output", tmp_path / "one.png")
    assert_refused(command(*given), "there is nothing to draw", reason)


def wrong_at(cell: Cell, place: int) -> Record:
    """A success that gets one image wrong."""
    data = load_dataset("digits")
    labels = data.test_labels.repeat(data.test_repeats).clone()
    labels[place] = (labels[place] + 1) % 10
    predictions = PREDICTIONS | {"predictions": labels.tolist(), "test_set": cell.test_set}
    record = make_record(cell, n_test=len(labels), n_wrong=1)
    return replace(record, predictions=predictions)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["matrx", "--output", "a.png"], ["unknown figure 'matrx': did you mean 'matrix'?"]),
        (["matrix", "--output", "a.jpg"], ["--output", ".png, .svg or .pdf", "'a.jpg'"]),
        (["forest", "--output", "a.png"], ["one distortion; choose one of R, E"]),
        (["pose", "--output", "a.png"], ["no evaluations with a known pose"]),
        (["saved", "--output", "a.png"], ["recipe and distortion; choose", "digits, smoke, R"]),
        (["matrix", "--output", "a.png", "--count", "3"], ["are of `figure transformations`"]),
        (["matrix", "--output", "a.png", "--model", "FCN"], ["no cell matches model=FCN"]),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(
    arguments: list[str],
    parts: list[str],
    filled: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(command("figure", *arguments, "--store", filled), *parts)
    assert not list(tmp_path.glob("a.*"))


def test_a_file_that_cannot_be_written_is_named(
    filled: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "one.png"
    assert_refused(
        command("figure", "matrix", "--store", filled, "--output", output),
        f"--output {output}: cannot be written: ",
    )
