"""What a report says: the table's numbers, and what it cannot say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.graded_stores import commit, drawn, evaluated, graded_record, labels_of
from support.records import make_cell, make_record
from support.reported_stores import (
    FAILURE,
    commit_digits,
    digits_cells,
    evaluation,
    fill,
)

from stn_cluster.data.labels import load_test_labels
from stn_cluster.document.compose import Report, compose
from stn_cluster.document.drawings import MOST_ROWS
from stn_cluster.document.evidence import gather
from stn_cluster.document.formats import as_html, as_latex, as_markdown
from stn_cluster.report.render import render
from stn_cluster.report.statistics.intervals import networks_error
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store

ERRORS = {("CNN", "none"): 0.10, ("ST-CNN", "affine"): 0.03, ("ST-CNN", "tps"): 0.03}


def report_of(store: Store) -> Report:
    assert store.local_path is not None
    return compose(gather(store.local_path), "1.2.3")


def section(report: Report, name: str) -> str:
    """All texts of a section."""
    found = next(one for one in report.sections if one.name == name)
    cells = [text for grid in found.grids for row in grid.rows for text in row]
    return "\n".join([*found.paragraphs, *cells])


def test_the_tables_of_a_report_are_those_of_the_command(store: Store) -> None:
    commit(store, drawn(ERRORS, seeds=3))
    report = report_of(store)
    table = comparison_table(store, interval=True)
    assert render(table, "md").strip() in as_markdown(report)
    assert render(table, "latex").strip() in as_latex(report)
    page = as_html(report)
    for row in table.to_dict("records"):
        ends = f"[{row['low']:.2f}, {row['high']:.2f}]"
        assert f'<span class="part">{ends}</span>' in page
    ((_, notes),) = table.attrs["notes"].items()
    assert set(notes) <= set(report.matrices[0].legend)


def test_findings_name_the_best_and_what_cannot_be_told_from_it(store: Store) -> None:
    commit(store, drawn(ERRORS, distortions=("R",)))
    (finding,) = report_of(store).findings.paragraphs
    table = comparison_table(store, interval=True).set_index(["model", "transform"])
    best = table["test_error_mean"].idxmin()
    other = "affine" if best[1] == "tps" else "tps"
    assert f"of ST-CNN {best[1]}; ST-CNN {other} cannot be told from it" in finding
    assert f"{table['test_error_mean'].min():.2f} %" in finding
    assert "(these trained networks)" in finding
    assert "CNN and" not in finding


def test_the_best_is_that_of_the_seeds_that_all_have(store: Store) -> None:
    rows = {("CNN", "none"): 0.05, ("ST-CNN", "tps"): 0.03}
    more = drawn({("CNN", "none"): 0.001}, distortions=("R",), seeds=7)[3:]
    commit(store, drawn(rows, distortions=("R",), seeds=3) + more)
    (finding,) = report_of(store).findings.paragraphs
    assert "over the seeds that all have, the best is ST-CNN tps, whose error is 3.00 %" in finding
    assert "smallest" not in finding


def test_methods_say_how_networks_were_trained_tested_and_compared(store: Store) -> None:
    commit(store, drawn(ERRORS, seeds=3))
    text = section(report_of(store), "methods")
    for part in (
        "On digits, CNN and ST-CNN (affine, tps) were trained with each of 3 seeds",
        "distorted by R and E, by recipe smoke (iterations 8, batch size 16",
        "tested once, at the end of its training, on 2,000 test images",
        "Holm's correction over 6 comparisons at 5%",
        "t intervals of the logarithm",
        "stn-cluster 0.1.0, PyTorch 2.11; trained on cpu",
    ):
        assert part in text
    assert "one seed" not in text


def test_methods_of_one_network_are_in_the_singular(store: Store) -> None:
    commit(store, drawn(ERRORS, distortions=("R",))[:1])
    assert " was trained with one seed" in section(report_of(store), "methods")


def test_one_seed_says_nothing_about_methods(store: Store) -> None:
    commit(store, drawn(ERRORS))
    text = section(report_of(store), "methods")
    assert "with one seed" in text
    assert "Fewer than 3 seeds say nothing about the methods." in text


def test_evaluations_verifications_and_failures_are_listed(store: Store) -> None:
    cells = fill(store)
    report = report_of(store)
    evaluations = section(report, "evaluations")
    for part in (cells[0].label, "R@2, worst of 10 (digits)", "3.00", "5.0 (20.0)"):
        assert part in evaluations
    assert "log2" not in evaluations
    verified = section(report, "verifications")
    for part in ("1 of 2 are identical to the bit", "7 of 3,600", "predictions differ"):
        assert part in verified
    failed = section(report, "failures")
    assert "Failed: 1 cell" in failed
    assert FAILURE in failed
    assert [title for title, _ in report.left_out if title.startswith("Images")] == [
        "Images of letters, R; letters, E"
    ]
    assert len(report.evaluated) == 1


def test_evaluations_have_figures(store: Store) -> None:
    (cell,) = cells = digits_cells("ST-FCN")[:1]
    commit_digits(store, cells)
    (row,) = store.results().to_dict("records")
    tests = [(on, severity) for on in ("R", "E") for severity in (1.0, 2.0)]
    names = [f"{number:016x}" for number in range(len(tests))]
    store.add(
        "evaluations",
        [
            evaluation(cell, row["attempt"], evaluation=name, distortion=on, severity=s, worst_of=1)
            for name, (on, s) in zip(names, tests, strict=True)
        ],
    )
    of = f"of evaluations of digits, recipe {cell.recipe}"
    titles = [drawing.title for drawing in report_of(store).evaluated]
    assert titles == [f"Transfer {of}", f"Severity {of}", "Known pose"]


def test_evaluations_that_cannot_be_drawn_leave_the_rest_of_the_report(store: Store) -> None:
    (cell,) = cells = digits_cells("ST-FCN")[:1]
    commit_digits(store, cells)
    (row,) = store.results().to_dict("records")
    for number, one in enumerate(({"status": "failed", "error": "no"}, {"worst_of": 10})):
        store.add(
            "evaluations",
            [
                evaluation(
                    cell, row["attempt"], evaluation=f"{number}{s:015x}", severity=float(s), **one
                )
                for s in (1, 2)
            ],
        )
    assert [drawing.title for drawing in report_of(store).evaluated] == ["Known pose"]


def test_the_pose_of_many_evaluations_is_that_of_networks_on_what_they_were_trained_on(
    store: Store,
) -> None:
    (cell,) = cells = digits_cells("ST-FCN", distortions=("R",))[:1]
    commit_digits(store, cells)
    (row,) = store.results().to_dict("records")
    store.add(
        "evaluations",
        [
            evaluation(
                cell,
                row["attempt"],
                evaluation=f"{number:016x}",
                distortion=cell.distortion if number < 2 else "E",
                severity=1.0 if number == 0 else 1 + number / 100,
                worst_of=1,
            )
            for number in range(MOST_ROWS + 1)
        ],
    )
    drawing = report_of(store).evaluated[-1]
    assert drawing.title == "Known pose on what networks were trained on"
    assert drawing.svg.count(cell.label) == 1


def test_an_evaluation_with_predictions_has_the_interval_of_its_base_images(store: Store) -> None:
    cells = digits_cells("CNN")
    commit_digits(store, cells)
    (row,) = store.results().to_dict("records")
    classes, repeats = load_test_labels("digits", None)
    wrong = np.zeros((1, repeats, len(classes) // repeats), bool)
    wrong[:, :, :20] = True  # the same base images in every version
    given = np.where(wrong.ravel(), (classes + 1) % 10, classes)
    counts = {"n_test": len(classes), "n_wrong": int(wrong.sum()), "severity": 1.0, "worst_of": 1}
    known = {"predictions": given.tolist(), "test_set": cells[0].test_set, **counts}
    failed = {"evaluation": "another", "status": "failed", "error": "ValueError: no"}
    failed |= {"n_test": None, "n_wrong": None}
    store.add(
        "evaluations", [evaluation(cells[0], row["attempt"], **one) for one in (known, failed)]
    )
    (grid,) = next(one for one in report_of(store).sections if one.name == "evaluations").grids
    interval = networks_error(wrong)
    ends = f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    assert grid.rows[0][1:4] == ("R (digits)", f"{100 * wrong.mean():.2f}", ends)
    assert grid.rows[1][2:4] == ("failed", "-")


def test_an_evaluation_whose_attempt_was_superseded_is_not_shown(store: Store) -> None:
    record = make_record()
    store.commit([record])
    store.add("evaluations", [evaluation(make_cell(), "another attempt")])
    assert "evaluations" not in {one.name for one in report_of(store).sections}


def test_provenance_names_each_key_and_how_to_repeat_it(store: Store) -> None:
    cell = make_cell()
    store.commit([make_record(cell, None), make_record(cell, git_commit="0123456789abcdef")])
    text = section(report_of(store), "provenance")
    parts = (cell.key, cell.label, "2.11", "0123456789abcdef", "rerun --key KEY", "model:CNN 1")
    assert [part for part in parts if part not in text] == []
    sections = report_of(store).sections
    (grid,) = next(one for one in sections if one.name == "provenance").grids
    assert dict(zip(grid.header, grid.rows[0], strict=True))["attempts"] == "2"


def test_provenance_that_all_cells_share_is_said_once(store: Store) -> None:
    cells = [make_cell(), make_cell("FCN")]
    store.commit([make_record(cell, device=name) for cell, name in zip(cells, "ab", strict=True)])
    text = section(report_of(store), "provenance")
    assert "All: data set digits, recipe smoke, torch 2.11, stn-cluster 0.1.0" in text
    sections = report_of(store).sections
    (grid,) = next(one for one in sections if one.name == "provenance").grids
    assert grid.header[-1] == "device"


def test_what_a_store_does_not_have_is_named(store: Store) -> None:
    commit(store, drawn(ERRORS, distortions=("R",), images=100))
    left_out = dict(report_of(store).left_out)
    assert set(left_out) >= {"Evaluations", "Verifications", "Failed and missing"}
    assert "another version" in left_out["Images of digits, R"]


def test_a_store_without_labels_says_what_it_lacks(store: Store) -> None:
    commit(store, drawn(ERRORS, distortions=("R",), dataset="mnist", images=100), version=1)
    report = report_of(store)
    assert report.embedded is None
    assert "--data-root" in dict(report.left_out)["Comparing any two cells"]
    assert "its predictions cannot be compared" in report.findings.paragraphs[0]
    assert '<button class="entry' not in as_html(report)


@pytest.mark.parametrize("failed", [False, True])
def test_stores_of_no_cell_and_of_one_failed_cell_have_a_report(store: Store, failed: bool) -> None:
    if failed:
        store.commit([make_record(error=None)])
    report = report_of(store)
    assert {"Methods", "Provenance"} <= set(dict(report.left_out))
    for text in (as_html(report), as_markdown(report), as_latex(report)):
        assert f"0 of {int(failed)} cell" in text


def test_a_store_of_one_cell_has_a_report(store: Store) -> None:
    commit(store, drawn({("CNN", "none"): 0.1}, distortions=("R",), images=100))
    report = report_of(store)
    assert "there is no other to compare it with" in report.findings.paragraphs[0]
    assert "1 of 1 cell succeeded" in as_html(report)


def test_cells_that_were_only_submitted_are_missing(store: Store) -> None:
    cells = digits_cells("CNN", distortions=("R", "E"))
    dumped = [cell.model_dump(mode="json") for cell in cells]
    store.write_job("job", {"job_id": "job", "submitted_at": "2026", "cells": dumped})
    report = report_of(store)
    assert "Missing, as they have not run: 2 cells" in section(report, "failures")
    assert set(report.findings.paragraphs) == {"R: no result.", "E: no result."}
    assert "0 of 2 cells succeeded, 2 missing" in as_html(report)


def test_classes_have_their_names(store: Store) -> None:
    cell = make_cell()
    record = graded_record(cell, np.arange(20) < 3)
    assert record.predictions is not None
    names = [f"</script>{number}" for number in range(10)]
    test_set = {"test_set": record.predictions["test_set"], "dataset": "digits", "revision": "1"}
    test_set |= {"repeats": 1, "labels": labels_of(20).tolist(), "class_names": names}
    store.commit([record], [test_set])
    report = report_of(store)
    assert report.embedded is not None
    assert report.embedded.test_sets[0].class_names == tuple(names)
    page = as_html(report)
    assert page.count("</script>") == page.count("<script")


def test_tables_of_very_many_rows_have_no_figures_and_say_so(store: Store) -> None:
    errors = {(f"m{number}", "none"): 0.05 + number / 2000 for number in range(200)}
    commit(store, drawn(errors, distortions=("R",), images=100))
    report = report_of(store)
    assert report.drawings == ()
    left_out = dict(report.left_out)
    assert left_out["Figures of digits, recipe smoke"] == "200 rows are too many for a figure"
    assert len(report.matrices[0].rows) == 200
    assert "more cannot be told from it" in report.findings.paragraphs[0]


def test_a_model_that_was_not_trained_can_be_compared_in_every_matrix(store: Store) -> None:
    commit(store, drawn({("CNN", "none"): 0.1}, distortions=("R",), images=100))
    cell = evaluated("CNN")
    labels = labels_of(100)
    store.commit([graded_record(cell, labels == 3)])
    (matrix,) = report_of(store).matrices
    assert [(row.model, len(row.entries[0].cells)) for row in matrix.rows] == [
        ("CNN", 1),
        ("CNN (weights)", 1),
    ]


def test_images_of_a_plug_in_that_is_gone_are_named_as_left_out(store: Store) -> None:
    (cell,) = digits_cells("CNN")
    commit_digits(store, [cell.model_copy(update={"plugins": ("gone_for_good",)})])
    report = report_of(store)
    assert "gone_for_good" in dict(report.left_out)["Images of digits, clean"]
    assert report.embedded is not None


def test_test_images_can_be_left_out(store: Store) -> None:
    fill(store)
    assert store.local_path is not None
    report = compose(gather(store.local_path), "1.2.3", pictures=False)
    assert dict(report.left_out)["Images"] == "as asked for by `--no-images`"
    assert "data:image/png" not in "".join(url for one in report.sheets for url in one.urls)
    assert report.images == ()
    assert "letters" in as_html(report)
    assert report.embedded is not None


def test_names_and_errors_are_text_in_every_format(store: Store) -> None:
    fill(store)
    report = report_of(store)
    page = as_html(report)
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; {{ 7 * 7 }}" in page
    assert page.count("</script>") == page.count("<script")
    assert r"\$x\_1\$ \& 100\%" in as_latex(report)
    assert r"\<img src=x" in as_markdown(report)


def test_latex_is_nested_as_it_must_be(store: Store) -> None:
    fill(store)
    text = re.sub(r"\\[\\{}%]", "", as_latex(report_of(store)))
    assert text.count("{") == text.count("}")
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []


def test_a_page_names_no_address_that_it_could_load(store: Store) -> None:
    fill(store)
    page = as_html(report_of(store))
    page = re.sub(r'xmlns(:\w+)?="http://www.w3.org/[^"]+"', "", page)
    assert "://" not in page
    assert re.findall(r'(?<!&#34;)\b(?:src|href)="(?!#|data:)[^"]*', page) == []
    assert "default-src 'none'" in page


def test_the_same_store_gives_the_same_report(store: Store, tmp_path: Path) -> None:
    fill(store)
    first, second = (as_html(report_of(store)) for _ in range(2))
    assert first == second
