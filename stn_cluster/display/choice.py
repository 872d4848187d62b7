"""Which view of a job is right for this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stn_cluster.display.console import make_console
from stn_cluster.display.notebook_view import NotebookView, in_notebook
from stn_cluster.display.progress_view import View, make_view


@contextmanager
def view_of_call(progress: bool | None, *, watched: bool) -> Iterator[View | None]:
    """View of a job that a Python program runs; None if nothing is to be shown.

    Args:
        progress: whether it is shown; None: on a terminal and in a notebook, unless it is watched.
        watched: whether the program looks at the job's statuses itself.
    """
    console = make_console(sys.stderr)
    notebook = in_notebook()
    if progress is None:
        progress = (notebook or console.is_terminal) and not watched
    if not progress:
        yield None
        return
    with NotebookView() if notebook else make_view(console) as view:
        yield view
