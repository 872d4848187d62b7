"""What was done, as a paragraph to paste into a paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from stn_cluster.document.evidence import Evidence
from stn_cluster.document.section import Section, counted, listed
from stn_cluster.grid import NO_TRAINING
from stn_cluster.report.statistics.intervals import normal_quantile
from stn_cluster.report.statistics.multiple import CORRECTION_NAMES
from stn_cluster.report.statistics.paired import MCNEMAR
from stn_cluster.report.statistics.published_errors import PUBLISHED_IMAGES
from stn_cluster.report.statistics.questions import ALPHA, LEVEL, METHOD_SEEDS, Question

MOST_NAMED = 12
_ARCHITECTURE = ("filters", "hidden_units", "transformer_size")  # settings of models, named last


def methods(evidence: Evidence) -> Section:
    """How the networks were trained, tested and compared."""
    done = evidence.succeeded
    if done.empty:
        return Section("methods", "Methods")
    sentences = [
        *(_training(name, part) for name, part in _by_recipe(done)),
        *_untrained(done),
        *_testing(evidence, done),
        *_statistics(evidence),
        _software(done),
    ]
    return Section("methods", "Methods", (" ".join(sentences),))


def _by_recipe(done: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    trained = done[done["recipe"] != NO_TRAINING]
    for (dataset, recipe), part in trained.groupby(["dataset", "recipe"], sort=False):
        yield (str(dataset), str(recipe)), part


def _training(name: tuple[str, str], part: pd.DataFrame) -> str:
    dataset, recipe = name
    seeds = part.groupby(["model", "transform", "distortion"])["seed"].nunique()
    fewest, most = int(seeds.min()), int(seeds.max())
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    with_seeds = "with one seed" if most == 1 else f"with each of {count} seeds"
    distortions = listed(part["distortion"].unique(), MOST_NAMED)
    verb = "was" if len(part[["model", "transform"]].drop_duplicates()) == 1 else "were"
    return (
        f"On {dataset}, {_networks(part)} {verb} trained {with_seeds} on images distorted by "
        f"{distortions}, by recipe {recipe} ({_settings(part)})."
    )


def _networks(part: pd.DataFrame) -> str:
    """Models with their transforms: 'CNN and ST-CNN (affine, tps)'."""
    names = []
    for model, rows in part.groupby("model", sort=False):
        transforms = [name for name in rows["transform"].unique() if name != "none"]
        names.append(f"{model} ({', '.join(transforms)})" if transforms else str(model))
    return listed(names, MOST_NAMED)


def _settings(part: pd.DataFrame) -> str:
    """Settings of the cells' specs, as ranges where they differ."""
    values: dict[str, list[Any]] = {}
    for spec in part["spec"]:
        for name, value in _settings_of(spec).items():
            values.setdefault(name, []).append(value)
    ordered = sorted(values, key=_ARCHITECTURE.__contains__)
    return ", ".join(f"{name.replace('_', ' ')} {_range(values[name])}" for name in ordered)


def _settings_of(spec: object) -> dict[str, Any]:
    try:
        settings = json.loads(str(spec)).get("settings", {})
    except (ValueError, AttributeError):  # of another version
        return {}
    return settings if isinstance(settings, dict) else {}


def _range(values: Iterable[Any]) -> str:
    distinct = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    if len(distinct) == 1:
        return _number(distinct[0])
    if all(isinstance(value, int | float) for value in distinct):
        return f"{_number(min(distinct))} to {_number(max(distinct))}"
    return " or ".join(map(_number, distinct))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 1000 else str(value)


def _untrained(done: pd.DataFrame) -> Iterator[str]:
    given = done[done["recipe"] == NO_TRAINING]
    if len(given):
        names = listed(given["model"].unique(), MOST_NAMED)
        yield f"With weights from files, and without training, {names} were tested too."


def _testing(evidence: Evidence, done: pd.DataFrame) -> Iterator[str]:
    shown = evidence.table[evidence.table["status"] == "succeeded"]
    sizes = sorted({int(n) for n in done["n_test"].dropna()})
    if not sizes:
        return
    images = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    known = shown[shown["base_images"].notna()]
    base = sorted({int(n) for n in known["base_images"]})
    versions = ""
    if len(base) == len(sizes) == 1 and base != sizes:
        versions = f", which are versions of {base[0]:,} images,"
    elif (known["base_images"] != known["n_test"]).any():
        versions = ", several of which may be versions of one image,"
    yield (
        f"Each network was tested once, at the end of its training, on {images} test images"
        f"{versions} that were distorted in the same way for all networks of a column."
    )


def _statistics(evidence: Evidence) -> Iterator[str]:
    table, tests = evidence.table, evidence.table.attrs.get("tests", ())
    asked = set(table["question"].dropna())
    versions = (table["base_images"] != table["n_test"]).any() or (table["n_seeds"] > 1).any()
    kinds = []
    if Question.NETWORKS.value in asked:
        effective = " with the effective number of images" if versions else ""
        kinds.append(
            f"of trained networks are Wilson's{effective} "
            f"(z = {normal_quantile(LEVEL):.2f}) and hold for other images of the same kind"
        )
    if Question.METHODS.value in asked:
        kinds.append(
            "of methods are t intervals of the logarithm of the odds over seeds and images and "
            "hold for other seeds too"
        )
    if kinds:
        yield f"{LEVEL:.0%} intervals {'; those '.join(kinds)}."
    comparisons = evidence.table.attrs.get("comparisons", 0)
    if comparisons:
        correction = CORRECTION_NAMES["holm"] if comparisons > 1 else "no correction"
        yield (
            f"Rows of a column were compared in pairs on the same images ({listed(tests)}), with "
            f"{correction} over {counted(comparisons, 'comparison')} at {ALPHA:.0%}."
        )
        if MCNEMAR in tests:
            yield f"Fewer than {METHOD_SEEDS} seeds say nothing about the methods."
    if table["beyond_reference"].notna().any():
        yield (
            "Published errors were compared by the binomial error of both numbers "
            f"({PUBLISHED_IMAGES:,} images) and their rounding."
        )


def _software(done: pd.DataFrame) -> str:
    def of(column: str) -> str:
        return listed(sorted(done[column].dropna().unique()), MOST_NAMED) or "unknown"

    return (
        f"Software: stn-cluster {of('stn_cluster_version')}, PyTorch {of('torch_version')}; "
        f"trained on {of('device')}."
    )
