"""`compare`: what its sides may be, what it says, and when it fails a check."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from support.graded_stores import Results, commit, drawn, evaluated, graded_record, labels_of
from support.records import make_cell, make_record
from support.refusals import Command, assert_refused, make_command

import stn_cluster
from stn_cluster.report.comparison_text import COMPARISON_FORMATS
from stn_cluster.report.statistics.methods import compare_methods
from stn_cluster.report.statistics.multiple import bonferroni_level
from stn_cluster.report.statistics.paired import compare_networks
from stn_cluster.store import Store

ROOT = Path(__file__).parents[3]
EVIL = "=\x1b[31mA1\t|`<b>\u202e"
ROWS = {("FCN", "none"): 0.10, ("CNN", "none"): 0.04, ("ST-CNN", "tps"): 0.036}
FCN, CNN, ST_CNN = "FCN/none/R/seed0", "CNN/none/R/seed0", "ST-CNN/tps/R/seed0"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("STN_CLUSTER_SERVER", raising=False)
    return make_command(monkeypatch, capsys)


def as_json(command: Command, *arguments: str | Path) -> dict[str, Any]:
    told = command("compare", *arguments, "--format", "json")
    assert told.code == 0, told.err
    found: dict[str, Any] = json.loads(told.out)
    return found


def wrong_of(results: Results, label: str) -> Any:
    (found,) = [wrong for cell, wrong in results if cell.label == label]
    return found


def test_two_cells_are_compared_by_label_and_by_key(command: Command, store: Store) -> None:
    results = drawn(ROWS)
    commit(store, results)
    a, b = wrong_of(results, FCN), wrong_of(results, CNN)
    found = as_json(command, FCN, CNN, "--store", store.uri)
    assert (found["n"], found["b"], found["c"]) == (2000, int((~a & b).sum()), int((a & ~b).sum()))
    assert found["only_a"] == np.flatnonzero(~a & b).tolist()
    assert found["only_b"] == np.flatnonzero(a & ~b).tolist()
    table = [[0, found["b"]], [found["c"], 0]]
    assert found["p"] == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert found["difference"] == pytest.approx(100 * (b.mean() - a.mean()))
    interval = compare_networks(a.reshape(1, 1, -1), b.reshape(1, 1, -1)).interval
    assert (found["low"], found["high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert (found["question"], found["test"]) == ("networks", "exact McNemar")
    assert found["note"] == "1 seed says nothing about the methods"
    assert found["specs"]["model"] == {"a": "FCN", "b": "CNN"}
    assert "seed" not in found["specs"]
    assert "cost" not in found["specs"]
    assert not any(
        name.startswith("revisions.") for name in found["specs"]
    )  # the model's name says it
    keys = [cell.key for cell, _ in results if cell.label in (FCN, CNN)]
    assert as_json(command, *keys, "--store", store.uri) == found
    assert as_json(command, keys[0], CNN, "--store", store.uri) == found


def test_python_gives_the_same_pairs(command: Command, store: Store) -> None:
    commit(store, drawn(ROWS))
    found = stn_cluster.compare("FCN/none", "CNN/none", store=store.uri, distortion="R")
    (pair,) = found.pairs
    assert pair.p == as_json(command, FCN, CNN, "--store", store.uri)["p"]
    assert found.worse(0) == ()
    assert stn_cluster.compare("CNN/none", "FCN/none", store=store.uri, seed=0).worse(1)


def test_text_and_markdown_say_it_for_people(command: Command, store: Store) -> None:
    commit(store, drawn(ROWS))
    told = command("compare", CNN, ST_CNN, "--store", store.uri)
    assert told.code == 0
    for part in ("these trained networks", "exact McNemar", "Only A gets:", "Only B gets:"):
        assert part in told.out
    assert "model: CNN | ST-CNN" in told.out
    assert "1 seed says nothing about the methods." in told.out
    assert "(images " in told.out
    markdown = command("compare", CNN, ST_CNN, "--store", store.uri, "--format", "md").out
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_rows_are_compared_in_each_column_and_from_three_seeds_on_as_methods(
    command: Command, store: Store
) -> None:
    results = drawn(ROWS, seeds=3)
    commit(store, results)
    found = as_json(command, "FCN/none", "CNN/none", "--store", store.uri)
    assert [pair["name"] for pair in found["pairs"]] == ["R", "E"]
    for pair in found["pairs"]:
        column = pair["name"]
        a, b = (
            np.array([[wrong_of(results, f"{row}/{column}/seed{seed}")] for seed in range(3)])
            for row in ("FCN/none", "CNN/none")
        )
        expected = compare_methods(a, b, bonferroni_level(2))
        assert pair["p"] == pytest.approx(expected.p)
        assert pair["low"] == pytest.approx(100 * expected.interval.low)
        assert pair["level"] == pytest.approx(0.975)
        assert (pair["question"], pair["note"]) == ("methods", "")
        assert pair["seeds"] == [0, 1, 2]
        every = ~a.any(axis=0) & b.all(axis=0)
        assert pair["only_a"] == np.flatnonzero(every).tolist()
    two = as_json(
        command, "FCN/none", "CNN/none", "--store", store.uri, "--seed", "0", "--seed", "2"
    )
    assert {pair["question"] for pair in two["pairs"]} == {"networks"}
    assert two["pairs"][0]["note"] == "2 seeds say nothing about the methods"
    assert two["pairs"][0]["seeds"] == [0, 2]
    text = command("compare", "FCN/none", "CNN/none", "--store", store.uri).out
    assert "these methods" in text
    assert "all 2 at once (Bonferroni)" in text
    assert "says nothing" not in text


def test_rows_are_compared_by_the_seeds_that_both_have(command: Command, store: Store) -> None:
    results = drawn(ROWS, seeds=4, distortions=("R",))
    commit(store, [one for one in results if one[0].label != "FCN/none/R/seed1"])
    (pair,) = as_json(command, "FCN/none", "CNN/none", "--store", store.uri)["pairs"]
    assert pair["seeds"] == [0, 2, 3]
    assert pair["question"] == "methods"


def two_stores(tmp_path: Path, extra: int) -> tuple[Store, Store, Results]:
    """A store, and one whose CNN on R gets `extra` more images wrong."""
    before, after = (Store.open(tmp_path / name, create=True) for name in ("before", "after"))
    results = drawn(ROWS)
    commit(before, results)
    changed = []
    for cell, wrong in results:
        if cell.label == CNN:
            more = wrong.copy()
            more[np.flatnonzero(~wrong)[:extra]] = True
            wrong = more
        changed.append((cell, wrong))
    commit(after, changed)
    return before, after, results


def test_stores_are_compared_cell_by_cell(command: Command, tmp_path: Path) -> None:
    before, after, _ = two_stores(tmp_path, extra=30)
    commit(before, drawn({("Old", "none"): 0.1}, distortions=("R",)))
    commit(after, drawn({("New", "none"): 0.1}, distortions=("R",)))
    found = as_json(command, before.uri, after.uri)
    assert len(found["pairs"]) == 6
    assert {pair["level"] for pair in found["pairs"]} == {bonferroni_level(6)}
    changed = {pair["name"]: pair["b"] for pair in found["pairs"] if pair["b"] or pair["c"]}
    assert changed == {CNN: 30}
    assert found["only_in_a"] == ["Old/none/R/seed0"]
    assert found["only_in_b"] == ["New/none/R/seed0"]
    narrowed = as_json(command, before.uri, f"file://{after.uri}", "--model", "CNN")
    assert [pair["name"] for pair in narrowed["pairs"]] == [CNN, "CNN/none/E/seed0"]
    assert narrowed["pairs"][0]["low"] > found["pairs"][2]["low"]  # of fewer pairs


def test_a_component_that_was_revised_is_told(command: Command, tmp_path: Path) -> None:
    stores = [Store.open(tmp_path / name, create=True) for name in "ab"]
    for revision, store in enumerate(stores, start=1):
        commit(store, [(make_cell(revision=revision), np.zeros(200, bool))])
    found = as_json(command, *(store.uri for store in stores))
    assert found["pairs"][0]["specs"] == {"revisions.model:CNN": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("extra", "points", "code"), [(30, 0, 3), (30, 0.5, 3), (30, 2, 0), (2, 0, 0)]
)
def test_the_check_fails_where_even_the_lower_end_is_worse(
    command: Command, tmp_path: Path, extra: int, points: float, code: int
) -> None:
    before, after, _ = two_stores(tmp_path, extra)
    told = command("compare", before.uri, after.uri, "--fail-if-worse", str(points))
    assert told.code == code
    assert (CNN in told.out.splitlines()[-1]) == (code == 3)
    assert told.out.splitlines()[-1].startswith("Check failed" if code else "Check: no pair")
    other_way = command("compare", after.uri, before.uri, "--fail-if-worse", str(points))
    assert other_way.code == 0
    told = command(
        *("compare", CNN, FCN, "--store", before.uri, "--fail-if-worse", "1", "--format", "json")
    )
    assert told.code == 3
    assert json.loads(told.out)["check"] == {
        "points": 1.0,
        "worse": [f"{CNN} and {FCN}"],
        "failed": [],
        "missing": [],
        "passed": False,
    }


def test_the_check_fails_where_a_cell_failed_in_b_alone(command: Command, tmp_path: Path) -> None:
    before, after, results = two_stores(tmp_path, extra=0)
    cell = make_cell("CNN", "none", "RTS")
    commit(before, [(cell, results[0][1])])
    after.commit([make_record(cell, error=None)])
    told = command("compare", before.uri, after.uri, "--fail-if-worse", "5")
    assert told.code == 3
    assert "CNN/none/RTS/seed0 failed in B" in told.out.splitlines()[-1]
    other_way = command("compare", after.uri, before.uri, "--fail-if-worse", "5")
    assert other_way.code == 0
    assert "Failed in A: CNN/none/RTS/seed0." in other_way.out


def test_the_check_fails_where_b_lacks_a_result_of_a(command: Command, tmp_path: Path) -> None:
    """Nothing shows that it is not worse; a failure of A alone is nothing that B could lack."""
    before, after, results = two_stores(tmp_path, extra=0)
    missing, failed = (make_cell("CNN", "none", name) for name in ("RTS", "P"))
    commit(before, [(missing, results[0][1])])
    before.commit([make_record(failed, error=None)])
    given = (before.uri, after.uri, "--fail-if-worse", "5")
    told = command("compare", *given)
    assert told.code == 3
    verdict = "B has no result of CNN/none/RTS/seed0 (filters narrow the check, as --seed 0)"
    assert verdict in told.out.splitlines()[-1]
    check = json.loads(command("compare", *given, "--format", "json").out)["check"]
    assert (check["missing"], check["passed"]) == (["CNN/none/RTS/seed0"], False)
    assert command("compare", *given, "--distortion", "R").code == 0
    assert command("compare", after.uri, before.uri, "--fail-if-worse", "5").code == 0


def test_rows_that_lack_a_seed_or_a_column_do_not_pass(command: Command, store: Store) -> None:
    results = drawn(ROWS, seeds=2)
    commit(store, [one for one in results if not one[0].label.startswith("CNN/none/E")])
    given = ("compare", "FCN/none", "CNN/none", "--store", store.uri, "--fail-if-worse", "50")
    told = command(*given)
    assert told.code == 3
    assert "no result of FCN/none/E/seed0, FCN/none/E/seed1 (" in told.out
    assert command(*given, "--distortion", "R").code == 0


def test_cells_of_two_data_sets_are_named_by_them(command: Command, tmp_path: Path) -> None:
    before, after = (Store.open(tmp_path / name, create=True) for name in ("before", "after"))
    for dataset in ("digits", "letters"):
        commit(before, drawn(ROWS, distortions=("R",), dataset=dataset))
    commit(after, drawn(ROWS, distortions=("R",)))
    commit(after, [one for one in drawn(ROWS, dataset="letters") if one[0].label == CNN])
    told = command("compare", before.uri, after.uri, "--fail-if-worse", "1")
    for name in (f"{CNN} (digits)", f"{CNN} (letters)"):
        assert any(line.startswith(f"{name} ") for line in told.out.splitlines())
    assert f"B has no result of {FCN} (letters), {ST_CNN} (letters) (" in told.out


def test_what_is_compared_with_itself_is_said(command: Command, tmp_path: Path) -> None:
    before, after, _ = two_stores(tmp_path, extra=0)
    said = "A and B are the same result, compared with itself."
    for given in ((CNN, CNN), ("CNN/none", "CNN/none")):
        told = command("compare", *given, "--store", before.uri)
        assert (told.code, said in told.out.splitlines()) == (0, True)
    assert said in command("compare", before.uri, before.uri).out
    assert as_json(command, CNN, CNN, "--store", before.uri)["same_result"] is True
    assert said not in command("compare", before.uri, after.uri).out


def test_rows_name_the_cells_that_have_no_partner_or_failed(command: Command, store: Store) -> None:
    results = drawn(ROWS, seeds=3)
    lost, failed = "CNN/none/R/seed1", "CNN/none/E/seed2"
    commit(store, [one for one in results if one[0].label not in (lost, failed)])
    cell = next(cell for cell, _ in results if cell.label == failed)
    store.commit([make_record(cell, error=None)])
    given = ("compare", "FCN/none", "CNN/none", "--store", store.uri)
    told = command(*given, "--fail-if-worse", "50")
    assert told.code == 3  # a failure is no pass
    assert "Only in A: FCN/none/R/seed1." in told.out
    assert "R, E: 2 seeds say nothing about the methods." not in told.out  # all pairs: no names
    assert "\n2 seeds say nothing about the methods." in told.out
    columns = command("compare", "FCN/none", "ST-CNN/affine", "--store", store.uri)
    assert "say nothing" not in columns.out
    assert f"{failed} failed in B" in told.out.splitlines()[-1]
    found = as_json(command, "CNN/none", "FCN/none", "--store", store.uri)
    assert found["only_in_b"] == ["FCN/none/R/seed1"]
    assert (found["failed_in_a"], found["failed_in_b"]) == ([failed], [])
    commit(store, [one for one in results if one[0].label == failed])
    assert "\nR: 2 seeds say nothing about the methods." in command(*given).out


def test_a_rerun_is_compared_by_its_newest_success(command: Command, store: Store) -> None:
    results = drawn(ROWS, distortions=("R",))
    commit(store, results)
    cell = next(cell for cell, _ in results if cell.label == CNN)
    commit(store, [(cell, wrong_of(results, FCN))])
    found = as_json(command, CNN, FCN, "--store", store.uri)
    assert (found["b"], found["c"], found["p"]) == (0, 0, 1.0)
    assert found["low"] < 0 < found["high"]


def test_distorted_versions_of_an_image_are_tested_together(command: Command, store: Store) -> None:
    results = [(cell, np.tile(wrong[:200], 10)) for cell, wrong in drawn(ROWS, distortions=("R",))]
    commit(store, results, repeats=10)
    found = as_json(command, FCN, CNN, "--store", store.uri)
    assert (found["n"], found["base_images"]) == (2000, 200)
    assert found["test"] == "exact sign-flip by base image"
    a, b = (wrong_of(results, label)[:200].reshape(1, 1, -1) for label in (FCN, CNN))
    assert found["p"] == pytest.approx(compare_networks(a, b).p)


def test_what_cannot_be_compared_is_refused_in_one_line(
    command: Command, store: Store, tmp_path: Path
) -> None:
    commit(store, drawn(ROWS))
    failed = make_cell("CNN", "none", "P")
    store.commit([make_record(failed, error=None)])
    untested = make_record(make_cell("CNN", "none", "RTS"), n_wrong=None, n_test=None)
    silent = make_record(make_cell("FCN", "none", "RTS"))
    store.commit([untested, replace(silent, predictions=None)])
    here = ("--store", store.uri)

    def refused(*arguments: str | Path, parts: tuple[str, ...]) -> None:
        assert_refused(command("compare", *arguments), *parts)

    refused(FCN, "FCN/none/E/seed0", *here, parts=("tested on different images", FCN))
    refused(FCN, "CNN/none", *here, parts=("cells and rows cannot be compared",))
    refused(FCN, store.uri, *here, parts=("cells and stores cannot be compared",))
    refused(FCN, "CNN/nine/R/seed0", *here, parts=("did you mean 'CNN/none/R/seed0'?",))
    refused("CNM/none", "CNN/none", *here, parts=("unknown row 'CNM/none': did you mean 'CNN",))
    refused("nowhere", FCN, *here, parts=("'nowhere'", "no such folder", "16 hex digits"))
    refused("", FCN, *here, parts=("''",))
    refused(FCN, failed.label, *here, parts=("has no result: failed", "loss is not finite"))
    refused("0" * 16, FCN, *here, parts=("unknown cell '0000000000000000'",))
    refused(FCN, "CNN/none/RTS/seed0", *here, parts=("it was not tested",))
    refused(FCN, "FCN/none/RTS/seed0", *here, parts=("has no predictions of it",))
    refused(FCN, CNN, parts=("--store",))
    refused(store.uri, store.uri, *here, parts=("--store: goes with cells and rows",))
    refused(store.uri, tmp_path, parts=("no result store here",))
    refused(store.uri, ROOT / "results" / "mnist-v1", parts=("no cell has results in both",))
    refused(FCN, CNN, *here, "--format", "xml", parts=("unknown format 'xml'", "json, md, text"))
    for points in ("nan", "-1", "inf"):
        refused(FCN, CNN, *here, f"--fail-if-worse={points}", parts=("--fail-if-worse", points))
    published = ("--store", ROOT / "results" / "mnist-v1")
    refused(FCN, CNN, *published, parts=("no labels of its test images", "--data-root"))


def test_a_label_that_names_several_cells_is_narrowed_by_filters(
    command: Command, store: Store
) -> None:
    commit(store, drawn(ROWS, recipe="smoke") + drawn(ROWS, recipe="fast"))
    told = command("compare", FCN, CNN, "--store", store.uri)
    assert_refused(told, "names several cells", "--recipe", "digits, smoke: ")
    found = as_json(command, FCN, CNN, "--store", store.uri, "--recipe", "fast")
    assert found["b"] + found["c"] > 0


def test_stores_on_other_test_images_are_refused(command: Command, tmp_path: Path) -> None:
    before, after = (Store.open(tmp_path / name, create=True) for name in ("before", "after"))
    cell, wrong = drawn(ROWS, distortions=("R",))[0]
    commit(before, [(cell, wrong)])
    record = graded_record(cell, wrong)
    assert record.predictions is not None
    record.predictions["test_set"] = "f" * 16
    row = {"test_set": "f" * 16, "dataset": "digits", "revision": "0", "repeats": 1}
    after.commit([record], [{**row, "labels": labels_of(2000).tolist(), "class_names": None}])
    told = command("compare", before.uri, after.uri, "--fail-if-worse", "1")
    assert_refused(told, "tested on different images")


def test_a_store_of_version_1_is_compared_with_one_of_version_2(
    command: Command, tmp_path: Path
) -> None:
    """Both name the same test set: the older by its spec, the newer in its rows."""
    from stn_cluster.data.labels import load_test_labels

    labels, repeats = load_test_labels("digits", None)
    cell = make_cell().model_copy(
        update={"revisions": {"dataset:digits": 2, "distortion:R": 2, "model:CNN": 2}}
    )
    wrong = np.random.default_rng(0).random(len(labels)) < 0.1
    old, new = (Store.open(tmp_path / name, create=True) for name in ("old", "new"))
    old.commit([graded_record(cell, wrong, labels=labels, version=1)])
    record = graded_record(cell, ~wrong, labels=labels)
    assert record.predictions is not None
    name = record.predictions["test_set"] = cell.test_set
    row = {"test_set": name, "dataset": "digits", "revision": "2", "repeats": repeats}
    new.commit([record], [{**row, "labels": labels.tolist(), "class_names": None}])
    (pair,) = as_json(command, old.uri, new.uri)["pairs"]
    assert (pair["n"], pair["base_images"]) == (3600, 360)
    assert pair["b"] == int((~wrong).sum())
    assert pair["specs"] == {}


@pytest.mark.parametrize("form", COMPARISON_FORMATS)
def test_names_are_neutral_in_every_format(
    command: Command, store: Store, tmp_path: Path, form: str
) -> None:
    results = drawn({(EVIL, "none"): 0.1, ("CNN", "none"): 0.04}, recipe=EVIL)
    commit(store, results)
    one, other = (cell.label for cell, _ in results[:2])
    told = command("compare", store.uri, store.uri, "--format", form)
    assert told.code == 0, told.err
    texts = [told.out, command("compare", one, other, "--store", store.uri, "--format", form).out]
    for text in texts:
        assert "A1" in text
        assert not {"\x1b", "\u202e", "\t"} & set(text)
        if form == "md":
            assert "<b>" not in text.replace(r"\<", "")
            rows = [line for line in text.splitlines() if line.startswith("| ")]
            assert {line.replace(r"\|", "").count("|") for line in rows} == {12}
        if form == "json":
            found = json.loads(text)  # has the very name, as programs read it
            assert any(EVIL in pair["label_a"] for pair in found.get("pairs", [found]))


# --- models that were evaluated and not trained ---


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_row_that_was_not_trained_is_compared_with_every_seed_of_one_that_was(
    command: Command, store: Store, seeds: int
) -> None:
    results = drawn({("CNN", "none"): 0.04}, seeds=seeds, distortions=("R",), recipe="fast")
    wrong = np.random.default_rng(1).random(2000) < 0.03
    commit(store, [*results, (evaluated(), wrong)])
    found = as_json(command, "CNN/none", "mine/none", "--store", store.uri, "--recipe", "fast")
    (pair,) = found["pairs"]
    assert pair["seeds"] == list(range(seeds))
    assert pair["question"] == ("methods" if seeds == 3 else "networks")
    trained = np.array([[one] for _, one in results])
    same = np.broadcast_to(wrong, trained.shape)
    expected = (compare_methods if seeds == 3 else compare_networks)(trained, same)
    assert pair["p"] == pytest.approx(expected.p)
    assert pair["difference"] == pytest.approx(100 * expected.difference)
    assert pair["specs"]["network.weights"] == {"a": None, "b": "mine.pt"}
    assert pair["specs"]["recipe"] == {"a": "fast", "b": "none"}


def test_a_row_is_named_as_in_the_table_where_one_of_its_name_was_trained(
    command: Command, store: Store
) -> None:
    results = drawn({("CNN", "none"): 0.04}, distortions=("R",))
    commit(store, [*results, (evaluated("CNN"), ~results[0][1])])
    (pair,) = as_json(command, "CNN/none", "CNN (weights)/none", "--store", store.uri)["pairs"]
    assert pair["label_b"] == "CNN (weights)/none/R"
    assert pair["b"] + pair["c"] == 2000


def test_an_evaluated_cell_is_compared_by_label_and_between_stores(
    command: Command, tmp_path: Path
) -> None:
    old, new = (Store.open(tmp_path / name, create=True) for name in ("old", "new"))
    results = drawn({("CNN", "none"): 0.04}, distortions=("R",))
    commit(old, [*results, (evaluated(), results[0][1])])
    commit(new, [(evaluated(digest="b"), ~results[0][1])])
    found = as_json(command, CNN, "mine/none/R/seed0", "--store", old.uri)
    assert (found["b"], found["c"], found["p"]) == (0, 0, 1)
    found = as_json(command, old.uri, new.uri)
    assert [pair["label_a"] for pair in found["pairs"]] == ["mine/none/R/seed0"]
    assert found["pairs"][0]["specs"] == {"network.digest": {"a": "a", "b": "b"}}
    assert found["only_in_a"] == [CNN]


def test_a_recipe_that_only_one_store_has_is_told(command: Command, tmp_path: Path) -> None:
    old, new = (Store.open(tmp_path / name, create=True) for name in ("old", "new"))
    rows = {("CNN", "none"): 0.04}
    for recipe in ("fast", "paper"):
        commit(old, drawn(rows, distortions=("R",), recipe=recipe))
    commit(new, drawn(rows, distortions=("R",), recipe="fast"))
    assert as_json(command, old.uri, new.uri)["only_in_a"] == [f"{CNN} (digits, paper)"]
    assert as_json(command, new.uri, old.uri)["only_in_b"] == [f"{CNN} (digits, paper)"]
