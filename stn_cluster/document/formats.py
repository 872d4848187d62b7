"""A report as HTML, Markdown and LaTeX."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stn_cluster.document.compose import Report
from stn_cluster.document.embedded import as_text
from stn_cluster.document.section import Grid
from stn_cluster.document.sheets import ACROSS, SHEET
from stn_cluster.plain_text import one_line
from stn_cluster.report.render import latex_escape, latex_row, markdown_escape, render
from stn_cluster.report.statistics.intervals import normal_quantile
from stn_cluster.report.statistics.questions import LEVEL


class _Verbatim(str):
    """Text that is in the format already."""


def as_html(report: Report) -> str:
    """One page that needs no network, no server and no other file.

    Its policy lets the browser run no script but its own, and load nothing.
    """
    templates = _environment(autoescape=True)
    templates.filters["prose"] = _prose(escape, Markup("<code>{}</code>").format, Markup)
    script = _template("paired_test.js") + _template("explorer.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text: str = templates.get_template("report.html.j2").render(
        report=report,
        css=_template("report.css"),
        script=script,
        script_digest=digest,
        embedded_json=_embedded_json(report),
    )
    return text


def as_markdown(report: Report) -> str:
    """The same texts and tables as Markdown."""
    templates = _environment(finalize=_escaped_by(markdown_escape))
    templates.filters["table"] = _markdown_table
    templates.filters["prose"] = _prose(markdown_escape, "`{}`".format, _Verbatim)
    text: str = templates.get_template("report.md.j2").render(
        report=report, table=_Verbatim(render(report.table, "md").strip())
    )
    return text


def as_latex(report: Report) -> str:
    """The same texts and tables as a LaTeX document."""
    templates = _environment(
        finalize=_escaped_by(latex_escape),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="((",
        variable_end_string="))",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    templates.filters["table"] = _latex_table
    templates.filters["prose"] = _prose(latex_escape, _latex_code, _Verbatim)
    text: str = templates.get_template("report.tex.j2").render(
        report=report, table=_Verbatim(render(report.table, "latex").strip())
    )
    return text


def _environment(**settings: Any) -> Environment:
    loader: BaseLoader = PackageLoader("stn_cluster.document")
    return Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **settings,
    )


def _template(name: str) -> str:
    return (files("stn_cluster.document") / "templates" / name).read_text(encoding="utf-8")


def _escaped_by(escape: Callable[[str], str]) -> Callable[[object], str]:
    def finalize(value: object) -> str:
        return value if isinstance(value, _Verbatim) else escape(one_line(str(value)))

    return finalize


def _prose(
    escape: Callable[[str], str], code: Callable[[str], str], kind: Callable[[str], str]
) -> Callable[[str], str]:
    """Makes a filter of texts with commands between backticks."""

    def prose(text: str) -> str:
        parts = one_line(text).split("`")
        if len(parts) % 2 == 0:  # a name with a backtick
            return kind(escape("`".join(parts)))
        return kind(
            "".join(code(part) if number % 2 else escape(part) for number, part in enumerate(parts))
        )

    return prose


def _latex_code(text: str) -> str:
    return rf"\texttt{{{latex_escape(text)}}}"


def _markdown_table(grid: Grid) -> _Verbatim:
    def line(texts: tuple[str, ...]) -> str:
        return f"| {' | '.join(map(markdown_escape, texts))} |"

    if not grid.rows:
        return _Verbatim("")
    title = [markdown_escape(grid.title), ""] if grid.title else []
    rules = ["---:" if index in grid.numbers else "---" for index in range(len(grid.header))]
    rows = [line(grid.header), f"| {' | '.join(rules)} |", *map(line, grid.rows)]
    return _Verbatim("\n".join([*title, *rows]))


def _latex_table(grid: Grid) -> _Verbatim:
    if not grid.rows:
        return _Verbatim("")
    columns = "".join("r" if index in grid.numbers else "l" for index in range(len(grid.header)))
    title = [rf"\caption*{{{latex_escape(grid.title)}}} \\"] if grid.title else []
    lines = [
        rf"\begin{{longtable}}{{{columns}}}",
        *title,
        r"\toprule",
        latex_row(grid.header),
        r"\midrule",
        r"\endhead",
        *map(latex_row, grid.rows),
        r"\bottomrule",
        r"\end{longtable}",
    ]
    return _Verbatim("\n".join(lines))


def _embedded_json(report: Report) -> str:
    """What the page's script reads."""
    embedded = report.embedded
    if embedded is None:
        return "{}"
    by_error = sorted(
        (cell for cell in embedded.cells if cell.test_set == 0), key=lambda cell: len(cell.places)
    )
    best = by_error[0]
    plain = best.entry[3] == "none"
    others = [cell for cell in by_error if (cell.entry[3] == "none") != plain] or by_error[1:]
    start = [embedded.cells.index(one) for one in (best, *(others[:1] or [best]))]
    found = {
        "critical": normal_quantile(LEVEL),
        "level": f"{LEVEL:.0%}",
        "sheet": SHEET,
        "across": ACROSS,
        "start": start,
        "sets": [
            {
                "title": one.title,
                "images": one.images,
                "repeats": one.repeats,
                "class_names": one.class_names,
                "wrong": as_text(one.wrong),
                "truth": as_text(one.truth),
                "pictures": sheets.pictures,
                "side": sheets.side,
                "sheets": sheets.urls,
            }
            for one, sheets in zip(embedded.test_sets, report.sheets, strict=True)
        ],
        "cells": [
            {
                "key": cell.key,
                "label": one_line(cell.label),
                "seed": cell.seed,
                "set": cell.test_set,
                "wrong": cell.text(),
            }
            for cell in embedded.cells
        ],
    }
    # Within a script element, nothing may look like its end.
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c")
