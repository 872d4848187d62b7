"""View of a running job in a notebook: one output, which is replaced."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

from rich.console import Console

from stn_cluster.display.progress_view import matrix
from stn_cluster.queue.jobs import JobStatus

COLUMNS = 110
_HTML = '<pre style="line-height: 1.25; white-space: pre">{code}</pre>'


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookView:
    """View that replaces its output with each status; the last one stays."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __enter__(self) -> NotebookView:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, status: JobStatus) -> None:
        """Shows the matrix."""
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(shown(status), raw=True, display_id=True)
        else:
            self._handle.update(shown(status), raw=True)


def shown(status: JobStatus) -> dict[str, str]:
    """The matrix as a notebook takes it: as HTML, and as text."""
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, force_jupyter=False, highlight=False
    )
    console.print(matrix(status), markup=False)
    html = console.export_html(inline_styles=True, code_format=_HTML, clear=False)
    return {"text/html": html, "text/plain": console.export_text()}
