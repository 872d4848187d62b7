"""Command that makes a store's many small files few."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.output import say_all, write

if TYPE_CHECKING:
    from stn_cluster.store import Kind

_MEGABYTE = 1_000_000


def compact(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Result store: folder or URI.")],
) -> None:
    """Make a store's many small Parquet files few, with the same rows.

    Whoever reads meanwhile sees them all. A service does this by itself when it has nothing to do;
    a store that one holds is refused. On an object store, which cannot be held, no service may be
    at work.
    """
    from stn_cluster.store import Store, refuse_published

    opened = Store.open(store)
    refuse_published(store, "whose files stay")
    with opened.lock():
        before = opened.usage()
        steps = opened.compact(whole=True)
        for seconds in steps:
            time.sleep(seconds)
        after = opened.usage()
    say_all(f"left as it is: {why}" for why in steps.left.values())
    if after == before:
        write(f"{opened.name}: nothing to compact: {_total(after)}\n")
        return
    for kind, (files, size) in before.items():
        now, now_size = after[kind]
        if (files, size) != (now, now_size):
            write(
                f"{kind}: {files:,} files, {_megabytes(size)} -> {now:,}, {_megabytes(now_size)}\n"
            )
    write(f"{opened.name}: {_total(before)} -> {_total(after)}\n")


def _total(usage: Mapping[Kind, tuple[int, int]]) -> str:
    files, sizes = zip(*usage.values(), strict=True)
    return f"{sum(files):,} files, {_megabytes(sum(sizes))}"


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:,.1f} MB"
