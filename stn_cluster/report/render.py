"""A comparison table as text, Markdown, CSV, LaTeX or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape

import pandas as pd

from stn_cluster.errors import UserError, unknown
from stn_cluster.report.matrix import DAGGER, INTERVAL_COLUMNS, RING, Matrix, matrices
from stn_cluster.report.table import COLUMNS
from stn_cluster.store import as_csv

DECIMALS = 12  # of a difference, beyond which there are only rounding errors
_NOTHING = "No cells."
CSV = "csv"


def render(table: pd.DataFrame, format: str = "text") -> str:
    """Renders a `comparison_table` as a text that ends with one newline.

    Args:
        table: from `comparison_table`.
        format: text, md, csv, latex or html. csv has one line per entry, with the word missing or
            failed if there is no mean; the others have one matrix per data set and recipe.

    Raises:
        UserError: there is no such format.
    """
    check_format(format)
    return _csv(table) if format == CSV else render_matrices(matrices(table), format)


def check_format(format: str) -> None:
    """Raises UserError if there is no such format."""
    if format not in FORMATS:
        raise UserError(unknown("format", format, FORMATS), "format")


def render_matrices(shown: Sequence[Matrix], format: str, nothing: str = _NOTHING) -> str:
    """Renders matrices as text, md, latex or html; `nothing` is said where there are none."""
    return _FORMATS[format](shown, nothing).rstrip("\n") + "\n"


def _csv(table: pd.DataFrame) -> str:
    means = (
        table["test_error_mean"]
        .astype(object)
        .where(table["status"] == "succeeded", table["status"])
    )
    deltas = table["delta"].round(DECIMALS)
    columns = [*COLUMNS, *(name for name in INTERVAL_COLUMNS if name in table)]
    return as_csv(table.assign(test_error_mean=means, delta=deltas)[columns])


def _text(shown: Sequence[Matrix], nothing: str) -> str:
    return "\n\n".join(map(_text_matrix, shown)) or nothing


def _text_matrix(matrix: Matrix) -> str:
    header, *rows = _aligned([matrix.header, *matrix.rows])
    rule = "-" * max(map(len, [header, *rows]))
    return "\n".join([matrix.title, rule, header, rule, *rows, rule, *matrix.legend])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _markdown(shown: Sequence[Matrix], nothing: str) -> str:
    return "\n\n".join(map(_markdown_matrix, shown)) or nothing


def _markdown_matrix(matrix: Matrix) -> str:
    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(map(markdown_escape, texts))} |"

    rule = line(["---"] * len(matrix.header))
    rows = [line(row) for row in matrix.rows]
    title = markdown_escape(matrix.title)
    return "\n".join([f"### {title}", "", line(matrix.header), rule, *rows]) + (
        "\n\n" + " ".join(map(markdown_escape, matrix.legend))
    )


def markdown_escape(text: str) -> str:
    """Text without Markdown's signs for cells, code, HTML, links, formulas and emphasis."""
    return re.sub(
        r"[\\|`<\[*&~$]|^[#>]|(?<![^\W_])_|_(?![^\W_])", lambda match: f"\\{match[0]}", text
    )


def _latex(shown: Sequence[Matrix], nothing: str) -> str:
    return "\n\n".join(map(_latex_matrix, shown)) or f"% {nothing}"


def _latex_matrix(matrix: Matrix) -> str:
    caption = latex_escape(f"{matrix.title}. {' '.join(matrix.legend)}")
    columns = "ll" + "r" * (len(matrix.header) - 2)
    lines = [
        r"\begin{table}  % needs \usepackage{booktabs}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        latex_row(matrix.header),
        r"\midrule",
        *map(latex_row, matrix.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # in LaTeX's default encoding these three are other signs
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    RING: r"$^{\circ}$",
    DAGGER: r"$^{\dagger}$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


def latex_row(texts: Sequence[str]) -> str:
    """Row of a table in LaTeX; at its beginning, [ or * would belong to the line before."""
    row = " & ".join(map(latex_escape, texts))
    return rf"{'{}' if row[:1] in ('[', '*') else ''}{row} \\"


def latex_escape(text: str) -> str:
    """Text without LaTeX's special signs."""
    return re.sub("[" + re.escape("".join(_LATEX)) + "]", lambda match: _LATEX[match[0]], text)


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>stn-cluster: comparison table</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2em 0.8em; text-align: left; border-bottom: 1px solid #ccc; }}
</style>
</head>
<body>
{body}
</body>
</html>"""


def _html(shown: Sequence[Matrix], nothing: str) -> str:
    return _HTML.format(body=_html_body(shown, nothing))


def html_matrices(table: pd.DataFrame) -> str:
    """The matrices as parts of an HTML document."""
    return _html_body(matrices(table), _NOTHING)


def _html_body(shown: Sequence[Matrix], nothing: str) -> str:
    return "\n".join(map(_html_matrix, shown)) or f"<p>{escape(nothing)}</p>"


def _html_matrix(matrix: Matrix) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in texts)}</tr>"

    lines = [
        f"<h2>{escape(matrix.title)}</h2>",
        "<table>",
        f"<thead>{line('th', matrix.header)}</thead>",
        "<tbody>",
        *(line("td", row) for row in matrix.rows),
        "</tbody>",
        "</table>",
        f"<p>{escape(' '.join(matrix.legend))}</p>",
    ]
    return "\n".join(lines)


_FORMATS: dict[str, Callable[[Sequence[Matrix], str], str]] = {
    "text": _text,
    "md": _markdown,
    "latex": _latex,
    "html": _html,
}
FORMATS = (*_FORMATS, CSV)
