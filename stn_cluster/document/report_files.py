"""A report as files: a page, and the same as Markdown and LaTeX beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stn_cluster import __version__
from stn_cluster.document.compose import Report, compose
from stn_cluster.document.evidence import gather
from stn_cluster.document.formats import as_html, as_latex, as_markdown
from stn_cluster.errors import UserError
from stn_cluster.paths import user_path
from stn_cluster.plain_text import plain_lines
from stn_cluster.store import Store

NAME = "report.html"  # in the store's folder report/
_BESIDE = {".md": as_markdown, ".tex": as_latex}


def write_report_files(
    store: str,
    output: str | os.PathLike[str] | None = None,
    data_root: str | os.PathLike[str] | None = None,
    *,
    pictures: bool = True,
    **filters: Any,
) -> tuple[Report, list[str]]:
    """Writes the report of a store, which may be a published one.

    Args:
        store: path or URI.
        output: the page; None: report/report.html of the store.
        data_root: folder of data files, for images, and for labels that the store lacks.
        pictures: whether test images are shown; without, labels are still read from `data_root`.
        filters: see `load_results`.

    Returns:
        The report, and the files that were written.

    Raises:
        UserError: `output` does not end in .html or cannot be written; see `gather`.
        StoreError: the store cannot be read, or written to where `output` is None.
    """
    path = None if output is None else _checked(output)
    evidence = gather(store, data_root, **filters)
    report = compose(evidence, __version__, pictures=pictures)
    texts = {".html": as_html(report)}
    texts |= {ending: render(report) for ending, render in _BESIDE.items()}
    texts = {ending: plain_lines(text) for ending, text in texts.items()}  # of a store of others
    if path is None:
        return report, _write_to_store(evidence.store, texts)
    return report, _write(path, texts)


def _checked(output: str | os.PathLike[str]) -> Path:
    path = user_path(output)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output: a file that ends in .html, not {os.fspath(output)!r}")
    return path


def _write_to_store(store: Store, texts: Mapping[str, str]) -> list[str]:
    written = []
    for ending, text in texts.items():
        name = Path(NAME).with_suffix(ending).name
        store.write_report(name, text)
        written.append(f"{store.name.rstrip('/')}/report/{name}")
    return written


def _write(path: Path, texts: Mapping[str, str]) -> list[str]:
    written = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for ending, text in texts.items():
            file = path if ending == ".html" else path.with_suffix(ending)
            file.write_text(text, encoding="utf-8")
            written.append(str(file))
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written: {error.strerror}") from error
    return written
