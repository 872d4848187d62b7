"""Pruning on a full disk, which is when it is needed: what goes, what is said, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.grown_stores import GrownStore
from support.queues import cells, file_limit
from support.refusals import Command, everything, make_command
from support.small_disks import fill, small_disk

from stn_cluster import load_evaluations, load_results
from stn_cluster.store.removal import Remover


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[GrownStore]:
    with small_disk(tmp_path / "disk") as disk:
        found = GrownStore(disk / "store")
        found.train("a", cells(3), evaluated=True)
        found.train("b", cells(3, first=1), force=True, evaluated=True)
        for _ in found.store.compact(whole=True):  # files have rows that go, and rows that stay
            pass
        yield found


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def used(grown: GrownStore) -> int:
    """Bytes of all files of the store, but for the queue."""
    found = everything(grown.folder).items()
    return sum(len(content or b"") for name, content in found if not name.startswith("queue/"))


def test_logs_and_checkpoints_make_the_room_that_the_rest_needs(
    grown: GrownStore, command: Command
) -> None:
    results, evaluations = load_results(grown.folder), load_evaluations(grown.folder)
    fill(grown.folder.parent)
    told = command("prune", grown.folder, "--job", "a", "--job", "b")
    assert told.code == 0, told
    assert grown.logs() == grown.checkpoints() == set()
    assert load_results(grown.folder).equals(results)
    assert load_evaluations(grown.folder).equals(evaluations)


def test_rows_that_cannot_be_written_are_one_line_after_what_was_freed(
    grown: GrownStore, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, evaluations = load_results(grown.folder), load_evaluations(grown.folder)
    attempts, before = grown.attempts(), used(grown)
    remove_rows = Remover.remove_rows
    filler = grown.folder.parent / "filler"

    def on_a_full_disk(remover: Remover, *given: object) -> Iterator[object]:
        if not remover._dry_run and not filler.exists():  # whatever it has freed is taken
            fill(grown.folder.parent)
        yield from remove_rows(remover, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Remover, "remove_rows", on_a_full_disk)
    told = command("prune", grown.folder, "--superseded")
    assert told.code == 2
    line = told.err.splitlines()[-1]
    assert line.startswith(f"stn-cluster: {grown.folder}/evaluations/")
    assert "cannot be written: No space left on device" in line
    assert line.endswith("; no more was freed: the same prune goes on from there")
    assert len([one for one in told.err.splitlines() if "queue's file keeps" not in one]) == 1
    freed = before - used(grown)
    assert told.out.startswith(f"freed 6 files, {freed:,} bytes\n")
    assert (grown.attempts(), load_results(grown.folder).equals(results)) == (attempts, True)
    filler.unlink()
    monkeypatch.setattr(Remover, "remove_rows", remove_rows)
    told = command("prune", grown.folder, "--superseded")
    assert (told.code, told.err) == (0, "")
    assert len(grown.attempts()) == len(attempts) - 2
    assert load_results(grown.folder).equals(results)
    assert load_evaluations(grown.folder).equals(evaluations)


@pytest.mark.parametrize("choice", [["--job", "a"], ["--superseded"]])
def test_a_queue_that_cannot_be_written_is_one_line_and_the_same_prune_goes_on(
    tmp_path: Path, command: Command, choice: list[str]
) -> None:
    grown = GrownStore(tmp_path / "store")
    grown.train("a", cells(130))
    grown.train("b", cells(130), force=True)
    results, before = load_results(grown.folder), used(grown)
    with file_limit(40_000):  # its shared memory has 32 KB
        told = command("prune", grown.folder, *choice)
    assert told.code == 2
    [line] = told.err.splitlines()
    assert line.startswith(f"stn-cluster: {grown.state}/queue.sqlite: cannot be written: ")
    assert told.out.splitlines()[0].split(", ")[1] == f"{before - used(grown):,} bytes"
    assert "queue" not in told.out
    assert load_results(grown.folder).equals(results)
    told = command("prune", grown.folder, *choice)
    assert told.code == 0
    assert "  queue  " in told.out
    assert load_results(grown.folder).equals(results)


def test_a_dry_run_without_room_for_its_copy_is_one_line(
    grown: GrownStore, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(grown.folder.parent)
    before = everything(grown.folder)
    monkeypatch.setattr("tempfile.tempdir", str(grown.folder.parent))
    told = command("prune", grown.folder, "--superseded", "--dry-run")
    assert (told.code, told.out) == (2, "")
    [line] = told.err.splitlines()
    assert line.startswith(f"stn-cluster: {grown.state}/queue.sqlite: cannot be copied for a dry")
    assert everything(grown.folder) == before
