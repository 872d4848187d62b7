"""Functions of the page's modules, in the browser that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browsers import NEEDS_CHROMIUM, chromium, opened_page, viewed

from stn_cluster.store import Store

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("modules") / "store"
    Store.open(folder, create=True)
    with (
        viewed(folder, "--no-token") as address,
        chromium() as browser,
        opened_page(browser) as one,
    ):
        one.page.goto(address)
        yield one.page


def call(page: Any, module: str, name: str, *arguments: Any) -> Any:
    code = "async ([module, name, given]) => (await import(`/page/${module}`))[name](...given)"
    return page.evaluate(code, [module, name, list(arguments)])


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("percent", [2.4444], "2.44 %"),
        ("percent", [None], "–"),
        ("signed", [-0.344], "−0.34"),
        ("signed", [0.001], "0.00"),
        ("probability", [0.00001], "< 0.001"),
        ("probability", [0.0312], "0.031"),
        ("duration", [72.3], "1 min 12 s"),
        ("duration", [59.7], "60 s"),
        ("duration", [7199.6], "2 h 0 min"),
        ("bytes", [20_480], "20 kB"),
        ("counted", [1, "cell"], "1 cell"),
        ("counted", [3600, "cell"], "3,600 cells"),
        ("time", ["not a time"], "–"),
    ],
)
def test_numbers_have_units(page: Any, name: str, given: list[Any], text: str) -> None:
    assert call(page, "formats.js", name, *given) == text


def test_a_new_jobs_id_is_one_that_the_server_takes(page: Any) -> None:
    from stn_cluster.queue.jobs import check_job_id

    for prefix in ("mnist", "-rf", "ä b/c", "", "x" * 99):
        check_job_id(call(page, "formats.js", "newJobId", prefix))


def test_an_event_stream_is_read_wherever_it_is_cut(page: Any) -> None:
    stream = ': ping\n\nevent: job\ndata: {"a":\ndata: 1}\nid: 7\n\ndata: x\n\n'
    for cut in range(len(stream) + 1):
        first = call(page, "events.js", "parsed", stream[:cut])
        second = call(page, "events.js", "parsed", first["rest"] + stream[cut:])
        events = [*first["events"], *second["events"]]
        assert events == [{"id": "7", "data": '{"a":\n1}'}, {"id": None, "data": "x"}]
        assert second["rest"] == ""


def test_what_has_not_changed_is_shared(page: Any) -> None:
    code = """async () => {
        const { shared } = await import("/page/data.js");
        const make = (error) => ({ rows: [{ e: [1, null, "a"] }, { e: [error] }] });
        const old = make(2);
        const [same, other] = [shared(old, make(2)), shared(old, make(3))];
        return [same === old, other === old, other.rows[0] === old.rows[0], other.rows[1].e[0]];
    }"""
    assert page.evaluate(code) == [True, False, True, 3]


def test_rows_in_sight_are_those_of_the_window_and_some_more(page: Any) -> None:
    assert call(page, "virtual.js", "inSight", 0, 500, 20, 100_000) == [0, 35]
    assert call(page, "virtual.js", "inSight", 20_000, 500, 20, 100_000) == [990, 1035]
    assert call(page, "virtual.js", "inSight", 90_000, 500, 20, 3) == [3, 3]


def test_a_wrong_fields_line_is_found(page: Any) -> None:
    yaml = "dataset: digits\nrecipe:\n  name: fast\n  iterations: -1\nmodels:\n  - name: FCN\n"
    found = [
        call(page, "submit.js", "lineOf", yaml, field)
        for field in ("recipe.iterations", "config.recipe.iterations", "models.0.name", "seeds")
    ]
    assert found == [3, 3, 5, -1]


def test_colour_grows_with_a_columns_numbers(page: Any) -> None:
    code = """async (values) => {
        const { scaleOf } = await import("/page/matrix_values.js");
        return values.map(scaleOf(values));
    }"""
    assert page.evaluate(code, [1, 5, None, 9]) == [0, 4, None, 8]
    assert page.evaluate(code, [3, 3]) == [0, 0]
    assert page.evaluate(code, [3, None]) == [None, None]


def test_progress_is_of_the_events_before_the_matrix_knows_it(page: Any) -> None:
    code = """async () => {
        const { JobModel, entryId, progressOf } = await import("/page/job_model.js");
        const names = { dataset: "d", recipe: "r", model: "M", transform: "none", distortion: "R" };
        const named = (key) => ({ ...names, key, iterations: 10 });
        const cell = (key, state, step) => ({ state, step, cell: named(key) });
        const model = new JobModel();
        model.apply({ state: "running", cells: [cell("a", "running", 3), cell("b", "queued", 0)] });
        const first = model.entries.get(entryId(names));
        model.apply({ state: "running", cells: [cell("a", "succeeded", 10)] });
        const entry = { n_cells: 2, counts: { missing: 2 }, step: 0, iterations: 0 };
        const second = progressOf(entry, model.entries.get(entryId(names)));
        return [first.counts, first.step, first.iterations, second.counts, model.ended];
    }"""
    counts = [{"running": 1, "queued": 1}, 3, 10, {"succeeded": 1, "queued": 1}, 1]
    assert page.evaluate(code) == counts


def test_an_address_keeps_what_it_is_given(page: Any) -> None:
    fields = {"model": ["a b", "c&d=e"], "show": "p", "job": None, "at": ""}
    address = call(page, "router.js", "to", "matrix", fields)
    assert address == "#/matrix?model=a+b&model=c%26d%3De&show=p"
    code = """async (address) => {
        const { parse } = await import("/page/router.js");
        const { view, rest, query } = parse(address);
        return [view, rest, query.getAll("model")];
    }"""
    assert page.evaluate(code, address) == ["matrix", "", ["a b", "c&d=e"]]
    assert page.evaluate(code, "#/cells/%E0%A4%A?x") == ["cells", "%E0%A4%A", []]
