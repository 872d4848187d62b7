"""The command that frees what a store does not need any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.output import say, write
from stn_cluster.errors import StoreError

if TYPE_CHECKING:
    from stn_cluster.cluster.pruning import Pruned
    from stn_cluster.store.removal import Removed


def prune(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Result store: folder or URI.")],
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Folder of its queue of jobs; default: in the store."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Only what ended longer ago: 30d, 12h."),
    ] = None,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="ID", help="Only this job; repeatable.")
    ] = None,
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="Rows that newer ones replace, instead of jobs."),
    ] = False,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Of the checkpoints, final weights stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be freed, and change nothing.")
    ] = False,
) -> None:
    """Free what a store does not need any more, and say how much that is.

    Jobs that have ended: their logs and checkpoints, and their place in the queue; results stay.
    With --superseded instead: rows of cells that were trained anew since, and all that belongs to
    them. --older-than and --job narrow it. Nothing that an unfinished job wants is touched, and
    there must be no service at work.
    """
    from stn_cluster.cluster.pruning import Choice, parse_age
    from stn_cluster.cluster.pruning import prune as prune_store
    from stn_cluster.cluster.settings import make_settings

    choice = Choice(
        jobs=tuple(job or ()),
        older_than=None if older_than is None else parse_age(older_than),
        superseded=superseded,
        keep_weights=keep_weights,
    )
    pruned = prune_store(make_settings(store, state=state), choice, dry_run=dry_run)
    if pruned.unknown:
        say(
            "not in this queue, and not known to have ended, so they stay (--state names another "
            f"queue): {', '.join(pruned.unknown)}"
        )
    if pruned.not_shrunk:
        say(f"the queue's file keeps its size: {pruned.not_shrunk}")
    write(_text(pruned, "would free" if dry_run else "freed"))
    if pruned.failure is not None:
        raise StoreError(f"{pruned.failure}; no more was freed: the same prune goes on from there")


def _text(pruned: Pruned, verb: str) -> str:
    """Lines on what was freed, one for each kind of it."""
    queue = pruned.queue
    total = pruned.total
    if not (total.files or total.bytes or total.rows or pruned.jobs or queue.attempts):
        return "nothing to free\n"
    lines = [f"{verb} {_files(total.files)}, {total.bytes:,} bytes"]
    parts = {"logs": pruned.logs, "checkpoints": pruned.checkpoints, "records": pruned.records}
    lines += [_line(name, _freed(part)) for name, part in parts.items() if part.files]
    lines += [_line(kind, _freed(part)) for kind, part in pruned.rows.items() if part.rows]
    rows = {"jobs": queue.jobs, "cells and evaluations": queue.items, "attempts": queue.attempts}
    counts = [f"{count:,} {name}" for name, count in rows.items() if count]
    if counts or pruned.queue_bytes:
        lines.append(_line("queue", ", ".join([*counts, f"{pruned.queue_bytes:,} bytes"])))
    return "".join(f"{line}\n" for line in lines)


def _freed(part: Removed) -> str:
    rows = [f"{part.rows:,} rows"] if part.rows else []
    return ", ".join([*rows, _files(part.files), f"{part.bytes:,} bytes"])


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _line(name: str, text: str) -> str:
    return f"  {name:<12}{text}"
