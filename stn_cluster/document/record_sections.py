"""Sections that list what a store holds beside its table: evaluations, verifications, failures,
provenance."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stn_cluster.document.evidence import Evidence
from stn_cluster.document.section import Section, counted, listed, make_grid
from stn_cluster.errors import error_line
from stn_cluster.plain_text import shortened
from stn_cluster.report.statistics.intervals import networks_error, normal_quantile, wilson
from stn_cluster.report.statistics.questions import LEVEL
from stn_cluster.report.verification_text import outcome
from stn_cluster.store import StoredLabels, read_labels

MOST_ROWS = 1_000  # of a list; the rest is counted
MOST_SHOWN = 12  # of evaluations; more are shown when asked for
REASON_LENGTH = 300  # characters of a failure; its log has all of it
_MEASURES = {  # columns of evaluations: how they are named and written
    "ink_lost": ("ink lost", ".3f"),
    "pose_degrees": ("degrees", ".1f"),
    "pose_log2_scale": ("log2 scale", ".2f"),
    "pose_shift_px": ("shift px", ".2f"),
    "pose_residual_px": ("residual px", ".2f"),
}


def _text(name: str, form: str = "") -> Callable[[Mapping[Any, Any]], str]:
    """Writes a column of `cells`; '-' if it has no value."""
    return lambda row: "-" if pd.isna(row[name]) else format(row[name], form)


_ORIGINS: Mapping[str, Callable[[Mapping[Any, Any]], str]] = {
    "cell": _text("label"),
    "key": _text("key"),
    "error, %": _text("test_error", ".2f"),
    "train s": _text("train_seconds", ",.0f"),
    "accepted (UTC)": _text("accepted_at", "%Y-%m-%d %H:%M"),
    "data set": _text("dataset"),
    "recipe": _text("recipe"),
    "device": _text("device"),
    "torch": _text("torch_version"),
    "stn-cluster": _text("stn_cluster_version"),
    "commit": _text("git_commit"),
}
_OF_EACH = ("cell", "key", "error, %", "train s", "accepted (UTC)")  # also where they are the same
_NUMBERS = ("error, %", "train s", "attempts")


def evaluations(evidence: Evidence) -> Section:
    """Cells on other test sets."""
    rows = evidence.evaluations
    if rows.empty:
        return Section("evaluations", "Evaluations")
    labels = read_labels(evidence.store)
    measures = [name for name in _MEASURES if rows[name].notna().any()]
    found = []
    for row in rows.head(MOST_ROWS).to_dict("records"):
        error, interval = _error(row, labels)
        numbers = [_measure(row, name) for name in measures]
        found.append((row["label"], tested_on(row), error, interval, *numbers))
    titles = [_MEASURES[name][0] for name in measures]
    header = ("cell", "tested on", "error, %", f"{LEVEL:.0%} interval", *titles)
    grid = make_grid("", header, found, range(2, len(header)))
    sentences = ["Trained networks on other test images; intervals are over images."]
    if any(name.startswith("pose") for name in measures):
        sentences.append(
            "Pose: what is left of the drawn distortion after the transformer; in brackets, what "
            "there would be without one."
        )
    return Section(
        "evaluations",
        "Evaluations",
        (" ".join(sentences), *_more(len(rows))),
        (grid,),
        folded=len(rows) > MOST_SHOWN,
    )


def tested_on(row: Mapping[Any, Any]) -> str:
    """Name of an evaluation's test set: 'R@2 (digits)'."""
    severity = "" if row["severity"] in (None, 1.0) else f"@{row['severity']:g}"
    worst = "" if row["worst_of"] in (None, 1) else f", worst of {row['worst_of']:g}"
    return f"{row['on']}{severity}{worst} ({row['dataset']})"


def _error(row: Mapping[Any, Any], labels: Mapping[str, StoredLabels]) -> tuple[str, str]:
    """Error and interval of an evaluation."""
    if row["status"] != "succeeded" or not row["n_test"]:
        return str(row["status"]), "-"
    n, wrong = int(row["n_test"]), int(row["n_wrong"])
    low, high = wilson(wrong / n, n, normal_quantile(LEVEL))
    truth = labels.get(row["test_set"])
    given = row["predictions"] if row["predictions"] is not None else row["predictions_wide"]
    if truth is not None and given is not None and len(given) == len(truth.classes):
        images = (np.asarray(given) != truth.classes).reshape(1, truth.repeats, -1)
        interval = networks_error(images)
        low, high = interval.low, interval.high
    return f"{100 * wrong / n:.2f}", f"[{100 * low:.2f}, {100 * high:.2f}]"


def _measure(row: Mapping[Any, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    form = _MEASURES[name][1]
    without = row.get(name.replace("pose_", "identity_")) if name.startswith("pose_") else None
    beside = "" if without is None else f" ({without:{form}})"
    return f"{row[name]:{form}}{beside}"


def verifications(evidence: Evidence) -> Section:
    """Cells that were trained again elsewhere."""
    rows = evidence.verifications
    if rows.empty:
        return Section("verifications", "Verifications")
    found = [
        (
            row["label"],
            f"{row['n_differ']:,} of {row['n_test']:,}",
            outcome(bool(row["identical"]), int(row["n_differ"])),
            f"{row['device']}, torch {row['torch']}",
            "the same" if row["same_device"] else "another",
            f"{row['verified_at']:%Y-%m-%d}",
        )
        for row in rows.head(MOST_ROWS).to_dict("records")
    ]
    header = ("cell", "images that differ", "", "trained again on", "kind of device", "on")
    identical = int(rows["identical"].sum())
    sentence = (
        f"Trained again, elsewhere: {identical:,} of {len(rows):,} are identical to the bit in "
        "predictions, probabilities and training losses."
    )
    grid = make_grid("", header, found, {1})
    return Section("verifications", "Verifications", (sentence, *_more(len(rows))), (grid,))


def failures(evidence: Evidence) -> Section:
    """Cells that failed, and those that have not run."""
    failed = evidence.results[evidence.results["status"] == "failed"]
    missing = evidence.table[evidence.table["n_missing"] > 0]
    paragraphs = []
    if len(missing):
        names = [
            f"{row['model']}/{row['transform']}/{row['distortion']} ({row['dataset']}, "
            f"{row['recipe']}: {row['n_missing']})"
            for row in missing.to_dict("records")
        ]
        count = counted(int(missing["n_missing"].sum()), "cell")
        paragraphs.append(f"Missing, as they have not run: {count}: {listed(names, 40)}.")
    grids = []
    if len(failed):
        paragraphs.append(
            f"Failed: {counted(len(failed), 'cell')}; their logs: {_command(evidence, 'logs KEY')}."
        )
        rows = [
            (row["label"], row["key"], shortened(error_line(str(row["error"])), REASON_LENGTH))
            for row in failed.head(MOST_ROWS).to_dict("records")
        ]
        grids.append(make_grid("", ("cell", "key", "reason"), rows))
    return Section(
        "failures", "Failed and missing", (*paragraphs, *_more(len(failed))), tuple(grids)
    )


def provenance(evidence: Evidence) -> Section:
    """Where each result is from, and how to repeat it."""
    rows = evidence.succeeded
    if rows.empty:
        return Section("provenance", "Provenance")
    shown = rows.head(MOST_ROWS).to_dict("records")
    columns = {title: [write(row) for row in shown] for title, write in _ORIGINS.items()}
    columns["attempts"] = [f"{evidence.attempts.get(row['key'], 1)}" for row in shown]
    same = {
        title: texts[0]
        for title, texts in columns.items()
        if title not in _OF_EACH and len(set(texts)) == 1 and (len(texts) > 1 or texts == ["-"])
    }
    said = [f"{title} {text}" for title, text in same.items() if text != "-"]
    columns = {title: texts for title, texts in columns.items() if title not in same}
    paragraphs = [
        "A key is a digest of all that determines a cell's result. The cell of a key is trained "
        f"again by: {_command(evidence, 'rerun --key KEY --into DIR')}. Whether that gives the "
        f"same predictions is checked by: {_command(evidence, 'verify --key KEY')}. Data files: "
        "`--data-root ROOT`.",
        *([f"All: {', '.join(said)}."] if said else []),
        *_digests(rows),
        *_more(len(rows)),
    ]
    numbers = [place for place, title in enumerate(columns) if title in _NUMBERS]
    grid = make_grid("", tuple(columns), zip(*columns.values(), strict=True), numbers)
    return Section("provenance", "Provenance", tuple(paragraphs), (grid,), folded=True)


def _command(evidence: Evidence, words: str) -> str:
    name, _, rest = words.partition(" ")
    return f"`stn-cluster {name} {rest} --store {shlex.quote(evidence.source)}`"


def _digests(rows: pd.DataFrame) -> Iterator[str]:
    """Revisions and digests of the components of all cells, each once."""
    found: dict[str, set[str]] = {}
    for spec in rows["spec"]:
        try:
            cell = json.loads(str(spec))
            for name, revision in cell.get("revisions", {}).items():
                found.setdefault(name, set()).add(str(revision))
            network = cell.get("network") or {}
            if network.get("digest"):
                name = f"weights {network.get('weights', '')}"
                found.setdefault(name, set()).add(str(network["digest"]))
        except (ValueError, AttributeError):  # of another version
            continue
    if found:
        texts = (f"{name} {' and '.join(sorted(found[name]))}" for name in sorted(found))
        yield f"Revisions and digests: {'; '.join(texts)}."


def _more(count: int) -> Iterator[str]:
    if count > MOST_ROWS:
        yield f"The first {MOST_ROWS:,} of {count:,} are listed."
