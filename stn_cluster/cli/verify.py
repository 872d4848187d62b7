"""The command that trains cells again to check what a store says."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import Filters, MachineOptions, filtered, with_machine
from stn_cluster.cli.output import ReaderGoneError, say, say_all, write
from stn_cluster.cli.progress import CELLS_FAILED, CHECK_FAILED, follow
from stn_cluster.errors import UserError
from stn_cluster.plain_text import one_line

if TYPE_CHECKING:
    from stn_cluster.store import Store


@with_machine
@filtered
def verify(
    filters: Filters,
    machine: MachineOptions,
    store: Annotated[str, typer.Option("--store", help="Result store: folder or URI.")],
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="K", help="Only K cells, drawn at random.")
    ] = None,
    sample_seed: Annotated[
        int | None, typer.Option("--sample-seed", help="Of the drawing; default: a new one.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option("--into", help="Store to train them into; default: a temporary one."),
    ] = None,
) -> None:
    """Train cells of a store again, elsewhere, and say whether that gives the stored predictions.

    All cells with a result, or those that match all filters, or a sample of these. What it came to
    is kept in the store's verifications/, a published one's too, and never among its results. The
    exit code is 3 if something differs on the same kind of device.
    """
    from stn_cluster.cluster.run_local import run_job
    from stn_cluster.cluster.settings import make_settings
    from stn_cluster.cluster.verify_cells import compare_trained, draw_cells
    from stn_cluster.queue.jobs import CellState
    from stn_cluster.report.verification_text import broken, verification_text
    from stn_cluster.store import Store, add_verifications

    if sample_seed is not None and sample is None:
        raise UserError("--sample-seed: goes with --sample")
    opened = Store.open(store)
    opened.check()
    seed = secrets.randbelow(2**31) if sample_seed is None else sample_seed
    with _working_store(opened, into) as place:
        Store.check_place(opened.uri)  # before cells are trained for hours
        drawn = draw_cells(
            opened, filters, sample=sample, sample_seed=seed, data_root=machine.get("data_root")
        )
        say_all(f"not verified: {line}" for line in drawn.left_out)
        seeded = "" if sample is None else f" with --sample-seed {seed}"
        say(f"verifying {len(drawn.job.cells):,} of {drawn.total:,} cells{seeded}")
        resumed = f"the same command{seeded} resumes" if into else "--into DIR lets it be resumed"
        statuses = run_job(drawn.job, make_settings(place, **machine))
        status = follow(statuses, interrupted=f"nothing is recorded; {resumed}")
        found = compare_trained(opened, Store.open(place), drawn, status)
    failed = [one for one in status.cells if one.state is CellState.FAILED]
    for one in failed:
        say(one_line(f"{one.cell.label}: failed: {one.error}"))
    if found:
        try:
            add_verifications(opened, found)
        finally:
            # Whoever reads only the first lines, as `head` does, still gets the exit code.
            with suppress(ReaderGoneError):
                write(verification_text(found, drawn.results))
    if broken(found, drawn.results):
        raise typer.Exit(CHECK_FAILED)
    if failed:
        raise typer.Exit(CELLS_FAILED)


@contextmanager
def _working_store(verified: Store, into: str | None) -> Iterator[str]:
    """Place of the store that cells are trained into; a temporary one goes at the end.

    Raises:
        UserError: it is the store that is verified, or a published one.
    """
    from stn_cluster.store import refuse_published

    if into is None:
        with tempfile.TemporaryDirectory(prefix="stn-cluster-verify-") as folder:
            yield str(Path(folder) / "store")
        return
    if _is_at(verified, into):
        raise UserError(
            f"--into {verified.name}: is the store itself; its cells are trained elsewhere"
        )
    refuse_published(into)
    yield into


def _is_at(store: Store, uri: str) -> bool:
    from stn_cluster.store import Store, without_end

    place = Store.place(uri)
    if place is None or store.local_path is None:
        return without_end(uri) == without_end(store.uri)
    return place.resolve() == store.local_path.resolve()
