"""Results of an older version of a plug-in: whoever reads them is told."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from support.http_service import browser
from support.plugin_sources import a_model, cells_of, write
from support.plugin_state import plugins_forgotten
from support.records import make_record
from typer.testing import CliRunner

from stn_cluster import comparison_table, load_results
from stn_cluster.cli import app
from stn_cluster.client.responses import warned
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.server.backend import Backend
from stn_cluster.store import OutdatedWarning, Store

LINE = (
    "plug-in 'mine' has changed since (helper.py): 1 of these results is of an older version; "
    "`run` trains the present one"
)


@pytest.fixture
def trained(tmp_path: Path, store: Store) -> Path:
    """The helper of a plug-in with a result in the store, beside one of a built-in model."""
    write(tmp_path / "mine", "mine.py", a_model("Mine", "import helper"))
    helper = write(tmp_path / "mine", "helper.py", "x = 1")
    with plugins_forgotten():
        cells = cells_of(tmp_path / "mine", "mine", models=["CNN", "Mine"])
        publish_plugins(cells, store)
        publish_plugins(cells, store)  # as it is there, it stays as it is
        store.commit([make_record(cell) for cell in cells])
    return helper


def said(store: Store) -> list[list[str]]:
    """What each way of reading the store says beside the results."""
    lines = []
    for read in (load_results, comparison_table):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(store.uri)
        lines.append([str(w.message) for w in caught if w.category is OutdatedWarning])
    for command in ("results", "table"):
        done = CliRunner().invoke(app, [command, "--store", store.uri])
        assert done.exit_code == 0, done.stderr
        lines.append([line for line in done.stderr.splitlines() if "plug-in" in line])
    lines += [answered(store, "/v1/results"), answered(store, "/v1/table")]
    return lines


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
    assert said(store) == [[]] * 6


def test_results_of_an_older_plugin_are_shown_with_a_word(store: Store, trained: Path) -> None:
    trained.write_text("x = 2")
    assert said(store) == [[LINE]] * 6


def test_results_that_are_not_shown_are_not_spoken_of(store: Store, trained: Path) -> None:
    trained.write_text("x = 2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_results(store.uri, model="CNN")
        comparison_table(store.uri, model="CNN")


def test_where_the_plugin_is_not_nothing_is_said(store: Store, trained: Path) -> None:
    trained.unlink()
    assert said(store) == [[LINE]] * 6  # without its helper, it is another one
    trained.with_name("mine.py").unlink()
    assert said(store) == [[]] * 6
