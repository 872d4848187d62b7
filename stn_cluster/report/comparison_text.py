"""A comparison as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stn_cluster.errors import UserError, unknown
from stn_cluster.plain_text import in_json, one_line
from stn_cluster.report.comparison import Comparison, PairResult
from stn_cluster.report.render import markdown_escape
from stn_cluster.report.sides import Kind

_MOST_NAMES = 10  # missing cells that the verdict names
_MOST_IMAGES = 20  # images that a text lists
_HEADER = (*("", "n", "b", "c", "error A", "error B", "B - A", "low", "high", "p"), "question")


def render_comparison(comparison: Comparison, format: str, points: float | None = None) -> str:
    """Renders a comparison as a text that ends with a newline.

    Args:
        comparison: from `compare`.
        format: text, md or json. json has all images and all fields; the fields of two cells are
            its own, those of several pairs are in `pairs`.
        points: threshold of the check, if there is one.

    Raises:
        UserError: there is no such format.
    """
    check_comparison_format(format)
    return COMPARISON_FORMATS[format](comparison, points).rstrip("\n") + "\n"


def check_comparison_format(format: str) -> None:
    """Raises UserError if `render_comparison` has no such format."""
    if format not in COMPARISON_FORMATS:
        raise UserError(f"--format: {unknown('format', format, COMPARISON_FORMATS)}", "format")


def passed(comparison: Comparison, points: float) -> bool:
    """Whether no pair is worse by more than `points`, and B has a result of all that A has.

    A cell that failed in B, or that B lacks, may be as much worse as any.
    """
    return not (comparison.worse(points) or comparison.failed_in_b or comparison.lost_in_b)


def _json(comparison: Comparison, points: float | None) -> str:
    rows = [comparison_fields(pair) for pair in comparison.pairs]
    found: dict[str, Any] = {"kind": comparison.kind.value, "a": comparison.a, "b": comparison.b}
    if comparison.kind is Kind.CELLS:
        found = rows[0] | {"kind": comparison.kind.value}
    else:
        names = ("only_in_a", "only_in_b", "failed_in_a", "failed_in_b")
        found |= {"pairs": rows} | {name: list(getattr(comparison, name)) for name in names}
    if points is not None:
        worse = [pair.name for pair in comparison.worse(points)]
        found["check"] = {
            "points": points,
            "worse": worse,
            "failed": list(comparison.failed_in_b),
            "missing": list(comparison.lost_in_b),
            "passed": passed(comparison, points),
        }
    return in_json(json.dumps(found, indent=2, ensure_ascii=False, default=str))


def comparison_fields(pair: PairResult) -> dict[str, Any]:
    """Fields of a pair in JSON: errors in percent, differences in points."""
    return {
        "name": pair.name,
        "label_a": pair.a,
        "label_b": pair.b,
        "dataset": pair.dataset,
        "seeds": list(pair.seeds),
        "n": pair.n,
        "base_images": pair.base_images,
        "error_a": pair.error_a,
        "error_b": pair.error_b,
        "b": pair.n_only_a,
        "c": pair.n_only_b,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "level": pair.level,
        "p": pair.p,
        "question": pair.question.value,
        "test": pair.test,
        "note": pair.note,
        "same_result": pair.same_result,
        "only_a": list(pair.only_a),
        "only_b": list(pair.only_b),
        "specs": {name: {"a": a, "b": b} for name, (a, b) in pair.specs.items()},
    }


def _text(comparison: Comparison, points: float | None) -> str:
    rows = [_HEADER, *map(_cells, comparison.pairs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if index in (0, len(widths) - 1) else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    head = [f"A  {one_line(comparison.a)}", f"B  {one_line(comparison.b)}", ""]
    return "\n".join([*head, *lines, "", *map(one_line, _sentences(comparison, points))])


def _markdown(comparison: Comparison, points: float | None) -> str:
    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(map(markdown_escape, texts))} |"

    rows = [line(_cells(pair)) for pair in comparison.pairs]
    head = markdown_escape(one_line(f"A: {comparison.a}, B: {comparison.b}"))
    table = [line(_HEADER), line(["---"] * len(_HEADER)), *rows]
    sentences = [f"- {markdown_escape(one_line(text))}" for text in _sentences(comparison, points)]
    return "\n".join([head, "", *table, "", *sentences])


def _cells(pair: PairResult) -> tuple[str, ...]:
    """Texts of a pair in the table."""
    numbers = (f"{pair.n:,}", f"{pair.n_only_a:,}", f"{pair.n_only_b:,}")
    errors = (f"{pair.error_a:.2f}", f"{pair.error_b:.2f}")
    ends = (_signed(pair.difference), _signed(pair.low), _signed(pair.high))
    return (one_line(pair.name), *numbers, *errors, *ends, f"{pair.p:.2g}", pair.question.words)


def _signed(points: float) -> str:
    return f"{round(points, 2) + 0.0:+.2f}"  # + 0.0: no -0.00


def _sentences(comparison: Comparison, points: float | None) -> Iterable[str]:
    pairs = comparison.pairs
    first = pairs[0]
    several = f", all {len(pairs)} at once (Bonferroni)" if len(pairs) > 1 else ""
    yield (
        "Errors in percent of n test images, differences in points. b: images that A gets more "
        f"often, c: that B does. 95% intervals{several}. "
        f"p is of each pair alone ({', '.join(dict.fromkeys(pair.test for pair in pairs))})."
    )
    if comparison.kind is Kind.CELLS:
        yield f"Only A gets: {_images(first.only_a)}."
        yield f"Only B gets: {_images(first.only_b)}."
    if comparison.kind is not Kind.STORES:
        yield from _notes(pairs)
    if same := [pair.name for pair in pairs if pair.same_result]:
        which = "" if len(same) == len(pairs) else f"{', '.join(same)}: "
        yield f"{which}A and B are the same result, compared with itself."
    yield f"Specs: {_specs(pairs)}."
    parts = {
        "Only in A": comparison.only_in_a,
        "Only in B": comparison.only_in_b,
        "Failed in A": comparison.failed_in_a,
        "Failed in B": comparison.failed_in_b,
    }
    yield from (f"{what}: {', '.join(names)}." for what, names in parts.items() if names)
    if points is not None:
        yield _verdict(comparison, points)


def _notes(pairs: Sequence[PairResult]) -> Iterable[str]:
    """What pairs cannot say, each once; with their names where others can."""
    names: dict[str, list[str]] = {}
    for pair in pairs:
        names.setdefault(pair.note, []).append(pair.name)
    for note, of in names.items():
        if note:
            yield f"{', '.join(of)}: {note}." if len(names) > 1 else f"{note}."


def _images(images: Sequence[int]) -> str:
    if not images:
        return "no image"
    more = f", and {len(images) - _MOST_IMAGES:,} more" if len(images) > _MOST_IMAGES else ""
    return f"{len(images):,} (images {', '.join(map(str, images[:_MOST_IMAGES]))}{more})"


def _specs(pairs: Sequence[PairResult]) -> str:
    """Fields in which the sides differ, each once."""
    found: dict[str, set[str]] = {}
    for pair in pairs:
        for name, (a, b) in pair.specs.items():
            found.setdefault(name, set()).add(f"{_value(a)} | {_value(b)}")
    if not found:
        return "no difference"
    texts = (
        f"{name}: {next(iter(values)) if len(values) == 1 else 'several'}"
        for name, values in found.items()
    )
    return "; ".join(texts)


def _value(value: Any) -> str:
    return "(default)" if value is None else str(value)


def _verdict(comparison: Comparison, points: float) -> str:
    worse = comparison.worse(points)
    if passed(comparison, points):
        return f"Check: no pair is worse by more than {points:g} points, and no result is missing."
    texts = [f"{pair.name} is worse by at least {_signed(pair.low)}" for pair in worse]
    texts += [f"{name} failed in B" for name in comparison.failed_in_b]
    if lost := comparison.lost_in_b:
        names = ", ".join(lost[:_MOST_NAMES])
        more = f" and {len(lost) - _MOST_NAMES:,} more" if len(lost) > _MOST_NAMES else ""
        texts.append(f"B has no result of {names}{more} (filters narrow the check, as --seed 0)")
    return f"Check failed (more than {points:g} points): {'; '.join(texts)}."


COMPARISON_FORMATS: Mapping[str, Callable[[Comparison, float | None], str]] = {
    "text": _text,
    "md": _markdown,
    "json": _json,
}
