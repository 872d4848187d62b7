"""A plan as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from stn_cluster.errors import UserError, unknown
from stn_cluster.plain_text import one_line
from stn_cluster.planning.plan import Plan, TestImages
from stn_cluster.report.statistics.questions import METHOD_SEEDS

_SOURCES = {"history": "this store's history", "calibration": "a short calibration here"}


def render_plan(plan: Plan, format: str) -> str:
    """Renders a plan as a text that ends with a newline.

    Args:
        plan: the plan.
        format: text or json.

    Raises:
        UserError: there is no such format.
    """
    check_plan_format(format)
    return PLAN_FORMATS[format](plan) + "\n"


def check_plan_format(format: str) -> None:
    """Raises UserError if `render_plan` has no such format."""
    if format not in PLAN_FORMATS:
        raise UserError(f"--format: {unknown('format', format, PLAN_FORMATS)}", "format")


def plan_fields(plan: Plan) -> dict[str, Any]:
    """Fields of a plan in JSON."""
    return asdict(plan) | {"to_train": plan.to_train}


def _json(plan: Plan) -> str:
    return json.dumps(plan_fields(plan), indent=2)


def _text(plan: Plan) -> str:
    return "\n".join(plan_lines(plan))


def plan_lines(plan: Plan) -> list[str]:
    """Lines for people."""
    return list(map(one_line, _lines(plan)))


def _lines(plan: Plan) -> Iterable[str]:
    failed = f", {plan.failed:,} of them after a failure" if plan.failed else ""
    published = " (published: train into another)" if plan.published and plan.to_train else ""
    yield f"store      {plan.store}{published}"
    yield f"cells      {plan.cells:,}: {plan.stored:,} stored, {plan.to_train:,} to train{failed}"
    if plan.to_train:
        yield f"time       {_time(plan)}"
        free = "" if plan.free_bytes is None else f", of {_size(plan.free_bytes)} that are free"
        yield f"disk       {_size(plan.bytes)}{free}"
    if plan.evaluations:
        due = plan.evaluations - plan.evaluated
        apart = ", which neither time nor disk include" if due and plan.to_train else ""
        yield (
            f"evaluated  {plan.evaluations:,} evaluations: {plan.evaluated:,} stored, {due:,} to "
            f"compute{apart}"
        )
    for images in plan.images:
        yield from _precision(images)
    yield f"seeds      {_seeds(plan.seeds)}"


def _time(plan: Plan) -> str:
    count = f"{plan.workers} worker{'s' if plan.workers > 1 else ''}"
    sources = "; ".join(
        f"{number:,} from {_SOURCES[name]}, on {plan.devices[name]}"
        for name, number in plan.sources.items()
    )
    unknown_ = f"; {plan.unknown:,} unknown, as they cannot be trained" if plan.unknown else ""
    if not plan.sources:
        return f"unknown: {plan.unknown:,} cells cannot be trained"
    hours = f"{_hours(plan.wall_seconds)} with {count} ({_hours(plan.worker_seconds)} of one)"
    return f"{hours}: {sources}{unknown_}"


def _hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _precision(images: TestImages) -> Iterable[str]:
    base = ""
    if images.base_images < images.n:
        base = f" (versions of {images.base_images:,}, which may be alike)"
    yield f"intervals  of {images.n:,} test images of {images.dataset}{base}, 95%, in points:"
    for width in images.widths:
        narrowest = "" if images.base_images == images.n else f"±{width.narrowest:.2f} to "
        told = "none" if width.smallest is None else f"from {width.smallest:.2f} on"
        yield (
            f"           error of {width.error:g} %: {narrowest}±{width.half_width:.2f}; "
            f"differences of two such networks: {told}"
        )


def _seeds(seeds: int) -> str:
    if seeds >= METHOD_SEEDS:
        return f"{seeds}: methods can be compared, not only these networks"
    if not seeds:
        return "none, as nothing is trained"
    says = "says" if seeds == 1 else "say"
    return (
        f"{seeds}, which {says} nothing about the methods, only about these networks: that takes "
        f"{METHOD_SEEDS} at least"
    )


PLAN_FORMATS: Mapping[str, Callable[[Plan], str]] = {"text": _text, "json": _json}
