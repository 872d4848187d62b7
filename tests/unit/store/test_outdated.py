"""Results of an older version of a plug-in: whoever reads them is told."""

from __future__ import annotations

import json
import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.graded_stores import commit
from support.http_service import browser
from support.plugin_sources import a_model, cells_of, write
from support.plugin_state import plugins_forgotten
from support.records import make_cell
from typer.testing import CliRunner

from stn_cluster import compare, comparison_table, load_results
from stn_cluster.cli import app
from stn_cluster.client.responses import warned
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.server.backend import Backend
from stn_cluster.store import OutdatedWarning, Store

LINE = (
    "plug-in 'mine' has changed since (helper.py): 1 of these results is of an older version; "
    "`run` trains the present one"
)
WRONG = np.arange(200) < 20
ROWS = ("Mine/none", "CNN/none")


@pytest.fixture
def trained(tmp_path: Path, store: Store) -> Path:
    """The helper of a plug-in with a result in the store, beside one of a built-in model."""
    write(tmp_path / "mine", "mine.py", a_model("Mine", "import helper"))
    helper = write(tmp_path / "mine", "helper.py", "x = 1")
    with plugins_forgotten():
        cells = cells_of(tmp_path / "mine", "mine", models=["CNN", "Mine"])
        publish_plugins(cells, store)
        publish_plugins(cells, store)  # as it is there, it stays as it is
        commit(store, [(cell, WRONG) for cell in cells])
    return helper


def said(store: Store) -> list[list[str]]:
    """What each way of reading the store says beside the results."""
    lines = []
    readers = (load_results, comparison_table, partial(comparison_table, interval=True))
    for read in (*readers, lambda uri: compare(*ROWS, store=uri)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(store.uri)
        lines.append([str(w.message) for w in caught if w.category is OutdatedWarning])
    commands = (["results"], ["table"], ["table", "--interval"], ["compare", *ROWS])
    for command in commands:
        done = CliRunner().invoke(app, [*command, "--store", store.uri])
        assert done.exit_code == 0, done.stderr
        lines.append([line for line in done.stderr.splitlines() if "plug-in" in line])
    routes = ("/v1/results", "/v1/table", "/v1/table?interval=true")
    return lines + [answered(store, route) for route in routes]


def answered(store: Store, route: str) -> list[str]:
    """What a client of a service is warned of."""
    backend = Backend(client=None, store=store)  # type: ignore[arg-type]
    response = browser(backend).get(route)
    assert response.status_code == 200
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert warned(response) is response
    return [str(warning.message) for warning in caught]


def test_results_of_the_present_plugin_are_shown_without_a_word(
    store: Store, trained: Path
) -> None:
    assert said(store) == [[]] * 11


def test_results_of_an_older_plugin_are_shown_with_a_word(store: Store, trained: Path) -> None:
    trained.write_text("x = 2")
    assert said(store) == [[LINE]] * 11


def test_results_that_are_not_shown_are_not_spoken_of(store: Store, trained: Path) -> None:
    trained.write_text("x = 2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_results(store.uri, model="CNN")
        comparison_table(store.uri, model="CNN")


def test_two_stores_are_told_apart(store: Store, trained: Path, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other", create=True)
    commit(other, [(make_cell("CNN"), WRONG)])
    trained.write_text("x = 2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(store.uri, other.uri)  # of built-in models alone
    with pytest.warns(OutdatedWarning) as caught:
        compare(store.uri, store.uri)
    assert [str(w.message) for w in caught] == [f"{store.name}: {LINE}"] * 2


def test_a_plan_says_which_results_it_does_not_count(store: Store, trained: Path) -> None:
    config = trained.with_name("mine.yaml")
    fields = "dataset: digits\nrecipe: smoke\ndistortions: [R]\nplugins: [mine]\n"
    config.write_text(f"{fields}models: [CNN, Mine]\n")

    def planned() -> tuple[bool, list[str]]:
        with plugins_forgotten():
            done = CliRunner().invoke(app, ["plan", str(config), "--store", store.uri])
        assert done.exit_code == 0, done.stderr
        return "2: 2 stored" in done.stdout, done.stderr.splitlines()

    assert planned() == (True, [])
    trained.write_text("x = 2")
    assert planned() == (False, [LINE])


@pytest.mark.parametrize(
    "description", [b"", b"{", b"[]", b"\xff", b'{"module": "mine", "files": {}}', b'{"files": 1}']
)
def test_what_is_no_description_of_a_plugin_is_said_in_a_line(
    store: Store, trained: Path, description: bytes
) -> None:
    assert store.local_path is not None
    [path] = (store.local_path / "plugins").glob("*.json")
    path.write_bytes(description)
    line = (
        f"plugins/{path.name} of the store is not the description of a plug-in: whether results "
        "are of an older version of it is not known"
    )
    assert [lines[-len(line) :] for [lines] in said(store)] == len(said(store)) * [line]


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "/", "no/such", "nul\0byte"])
def test_a_description_cannot_make_a_reader_wait(
    store: Store, trained: Path, tmp_path: Path, place: str
) -> None:
    assert store.local_path is not None
    os.mkfifo(tmp_path / "pipe")
    [path] = (store.local_path / "plugins").glob("*.json")
    about = json.loads(path.read_bytes())
    for file in about["files"].values():
        file["from"] = str(tmp_path / place)
    path.write_text(json.dumps(about))
    assert said(store) == len(said(store)) * [[]]


def test_where_the_plugin_is_not_nothing_is_said(store: Store, trained: Path) -> None:
    trained.unlink()
    assert said(store) == [[LINE]] * 11  # without its helper, it is another one
    trained.with_name("mine.py").unlink()
    assert said(store) == [[]] * 11
