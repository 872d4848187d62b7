"""Pruning: what goes, what stays, what is said of it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.grown_stores import GrownStore
from support.queues import cells
from support.refusals import everything

from stn_cluster import load_evaluations, load_predictions, load_results
from stn_cluster.cluster.pruning import Choice, Pruned, parse_age
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import NotFoundError, StoreError, UserError
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import load_verifications
from stn_cluster.store.removal import OF_ATTEMPTS

NOW, LONG_AGO = timedelta(0), timedelta(days=1)
STATE = "state-000000004.pt"


@pytest.fixture
def grown(tmp_path: Path) -> GrownStore:
    return GrownStore(tmp_path / "store")


def both(grown: GrownStore, *jobs: str, **choice: Any) -> Pruned:
    """Prunes, after a dry run that changes nothing and says the same, and as much as it says."""
    before = everything(grown.folder)
    said = grown.prune(*jobs, dry_run=True, **choice)
    assert everything(grown.folder) == before
    pruned = grown.prune(*jobs, **choice)
    assert pruned == said
    after = everything(grown.folder)
    gone, new = (
        [x[name] for name in x if name not in y and x[name] is not None and is_file_of_store(name)]
        for x, y in ((before, after), (after, before))
    )
    assert len(gone) - len(new) == pruned.total.files
    freed = pruned.total.bytes - pruned.queue_bytes
    assert sum(map(len, gone)) - sum(map(len, new)) == freed  # type: ignore[arg-type]
    return pruned


def is_file_of_store(name: str) -> bool:
    return not name.startswith(("queue/", "lock"))


# --- jobs ---


def test_a_job_goes_with_its_logs_and_checkpoints_and_its_results_stay(grown: GrownStore) -> None:
    old = grown.train("old", cells(2))
    new = grown.train("new", cells(2, first=2))
    results, predictions = load_results(grown.folder), load_predictions(grown.folder)
    pruned = both(grown, "old")
    assert (pruned.jobs, pruned.logs.files, pruned.checkpoints.files) == (1, 2, 4)
    assert (pruned.records.files, pruned.queue.jobs, pruned.queue.items) == (1, 1, 2)
    assert pruned.logs.bytes == sum(len(f"the log of {attempt}\n") for attempt in old)
    assert grown.logs() == {*new}
    assert grown.checkpoints() == {(attempt, name) for attempt in new for name in (STATE, WEIGHTS)}
    assert [job["job_id"] for job in grown.store.jobs()] == ["new"]
    assert not [path for path in grown.folder.glob("*/*") if path.name == cells(1)[0].key]
    assert load_results(grown.folder).equals(results)
    assert load_predictions(grown.folder).equals(predictions)
    again = grown.prune("old")
    assert (again.jobs, again.total.files, again.total.bytes) == (0, 0, 0)


def test_final_weights_stay_if_they_are_to(grown: GrownStore) -> None:
    attempts = grown.train("old", cells(2))
    assert both(grown, "old", keep_weights=True).checkpoints.files == 2
    assert grown.checkpoints() == {(attempt, WEIGHTS) for attempt in attempts}
    assert grown.logs() == set()


def test_what_another_job_has_stays(grown: GrownStore) -> None:
    first = grown.train("first", cells(3))
    second = grown.train("second", cells(2, first=2))
    assert len(second) == 1  # the other one is stored
    assert both(grown, "first").queue.items == 2
    assert grown.logs() == {*first[2:], *second}
    assert both(grown, "second").queue.items == 2
    assert grown.logs() == grown.checkpoints() == set()


def test_what_an_unfinished_job_wants_stays(grown: GrownStore) -> None:
    done = grown.train("done", cells(3))
    [_, running] = grown.train("unfinished", cells(2, first=2), force=True, unfinished=1)
    everything_else = {*done[:2]}
    both(grown, older_than=NOW)
    assert grown.logs().isdisjoint(everything_else)
    assert (running, STATE) in grown.checkpoints()
    assert (done[2], WEIGHTS) in grown.checkpoints()
    assert [job["job_id"] for job in grown.store.jobs()] == ["unfinished"]
    with pytest.raises(UserError, match=r"^job 'unfinished' has not ended: cancel it first"):
        grown.prune("unfinished")
    grown.cancel("unfinished")
    assert both(grown, "unfinished").jobs == 1
    assert grown.logs() == grown.checkpoints() == set()


def test_only_what_ended_long_enough_ago_goes(grown: GrownStore) -> None:
    grown.train("a", cells(1))
    grown.train("b", cells(1, first=1), error=None)
    assert both(grown, older_than=LONG_AGO).jobs == 0
    assert both(grown, "a", older_than=LONG_AGO).jobs == 0
    assert both(grown, older_than=NOW).jobs == 2


def test_a_job_that_is_not_there_is_named(grown: GrownStore) -> None:
    with pytest.raises(NotFoundError, match=r"^no job 'a'"):
        grown.prune("a")
    grown.train("first", cells(1))
    with pytest.raises(NotFoundError, match=r"^unknown job 'fist': did you mean 'first'\?"):
        grown.prune("first", "fist")
    assert grown.logs()


def test_jobs_of_a_queue_that_is_lost_go_once_all_their_cells_have_succeeded(
    grown: GrownStore,
) -> None:
    grown.train("done", cells(1))
    grown.train("failed", cells(1, first=1), error=None)
    grown.train("unfinished", cells(2, first=2), unfinished=1)
    grown.train("again", cells(1, first=5))
    grown.train("forced", cells(1, first=5), force=True, unfinished=1)
    for path in grown.state.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"^job 'failed' is not in this queue, .* --state"):
        grown.prune("failed")
    before = grown.logs()
    pruned = both(grown, older_than=NOW)
    assert (pruned.jobs, set(pruned.unknown)) == (2, {"failed", "unfinished", "forced"})
    assert len(before) - len(grown.logs()) == 1  # what is trained anew has kept its own
    assert both(grown, superseded=True).total.files == 0


def test_weights_stay_for_evaluations_of_a_queue_that_is_lost(grown: GrownStore) -> None:
    [attempt] = grown.train("done", cells(1))
    record = {"job_id": "tests", "submitted_at": "2026-01-31T12:00:00+00:00", "config": {}}
    grown.store.write_job("tests", {**record, "cells": [], "evaluations": {"0f" * 8: "on E"}})
    pruned = both(grown, "done")
    assert pruned.unknown == ("tests",)
    assert grown.checkpoints() == {(attempt, WEIGHTS)}


def test_a_malformed_record_is_named_and_nothing_goes(grown: GrownStore) -> None:
    grown.train("a", cells(1))
    (grown.folder / "jobs" / "odd.json").write_text(json.dumps({"cells": [{}]}))
    before = everything(grown.folder)
    with pytest.raises(StoreError, match=r"jobs/odd\.json"):
        grown.prune("a")
    assert {name for name in everything(grown.folder) if name not in before} <= {
        "lock",
        "queue/lock",
    }


# --- rows ---


def test_superseded_rows_go_with_all_that_belongs_to_them(grown: GrownStore) -> None:
    first = grown.train("a", cells(2), evaluated=True)
    grown.store.add(
        "verifications",
        [
            {
                **dict.fromkeys(grown.store.read("verifications").schema.names),
                **{"key": cells(1)[0].key, "attempt": first[0], "schema_version": 2},
            }
        ],
    )
    failed = grown.train("b", cells(1), force=True, error=None)
    last = grown.train("c", cells(1), force=True, evaluated=True)
    [newest_failed] = grown.train("d", cells(1), force=True, error=None)
    shown = load_results(grown.folder), load_evaluations(grown.folder)
    pruned = both(grown, superseded=True)
    rows = {kind: removed.rows for kind, removed in pruned.rows.items()}
    assert rows == {
        "cells": 2, "curves": 2, "predictions": 1, "evaluations": 1, "verifications": 1
    }  # fmt: skip
    kept = [first[1], *last]
    assert grown.attempts() == sorted([*kept, newest_failed])
    assert grown.attempts("predictions") == grown.attempts("evaluations") == sorted(kept)
    assert grown.attempts("curves") == sorted(2 * kept)
    assert grown.attempts("verifications") == []
    assert grown.logs() == {*kept, newest_failed}
    assert {attempt for attempt, _ in grown.checkpoints()} == {*kept, newest_failed}
    assert load_results(grown.folder).equals(shown[0])
    assert load_evaluations(grown.folder).equals(shown[1])
    assert len(load_verifications(grown.folder)) == 0
    assert len(grown.store.jobs()) == 4  # jobs stay
    assert pruned.queue.attempts == 2
    assert not both(grown, superseded=True).total.rows
    assert failed[0] not in grown.attempts()


def test_superseded_rows_are_narrowed_by_job_and_age_and_weights_are_kept(
    grown: GrownStore,
) -> None:
    [a] = grown.train("a", cells(1))
    [b] = grown.train("b", cells(1), force=True)
    grown.train("c", cells(1), force=True)
    assert both(grown, superseded=True, older_than=LONG_AGO).total.rows == 0
    both(grown, "b", superseded=True, keep_weights=True)
    assert b not in grown.attempts()
    assert a in grown.attempts()
    assert (b, WEIGHTS) in grown.checkpoints()
    assert (b, STATE) not in grown.checkpoints()


def test_rows_of_a_cell_that_is_trained_again_stay_until_it_has_ended(grown: GrownStore) -> None:
    [a] = grown.train("a", cells(1))
    grown.train("b", cells(1), force=True)
    grown.train("c", cells(1), force=True, unfinished=1)
    assert both(grown, superseded=True).total.rows == 0
    assert a in grown.attempts()


def test_rows_of_a_compacted_file_go_too_and_what_it_replaced_does_not_come_back(
    grown: GrownStore,
) -> None:
    grown.train("a", cells(3))
    kept = grown.train("b", cells(3), force=True)
    kept += grown.train("c", cells(3, first=3))
    originals = {p: p.read_bytes() for p in grown.folder.glob("*/2*.parquet")}
    for _ in grown.store.compact(whole=True):
        pass
    for path, content in originals.items():  # as after a crash before they were removed
        path.write_bytes(content)
    said = grown.prune(superseded=True, dry_run=True)
    assert grown.prune(superseded=True) == said
    assert grown.attempts() == sorted(kept)
    assert not any(path.exists() for path in originals)
    for kind in OF_ATTEMPTS:
        for _ in grown.store.compact(whole=True):
            pass
        assert set(grown.attempts(kind)) <= {*kept}


# --- refused ---


def test_a_published_store_is_refused(grown: GrownStore) -> None:
    grown.train("a", cells(1))
    (grown.folder / "manifest.json").write_text("{}")
    for dry_run in (False, True):
        with pytest.raises(StoreError, match="is a published store, from which nothing is removed"):
            grown.prune("a", dry_run=dry_run)


def test_a_store_or_a_queue_that_a_service_holds_is_refused(grown: GrownStore) -> None:
    grown.train("a", cells(1))
    for held in (grown.store.lock(), lock_state_folder(grown.state)):
        with held:
            for dry_run in (False, True):
                with pytest.raises(StoreError, match=r"^another service holds .* end that first"):
                    grown.prune("a", dry_run=dry_run)
    assert grown.prune("a").jobs == 1


def test_a_torn_file_is_named_before_anything_goes(grown: GrownStore) -> None:
    grown.train("a", cells(1))
    grown.train("b", cells(1), force=True)
    path = min(grown.folder.glob("curves/2*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    logs = grown.logs()
    with pytest.raises(StoreError, match="torn"):
        grown.prune(superseded=True)
    assert grown.logs() == logs


@pytest.mark.parametrize(
    "text", ["30", "d", "-1d", "1.5d", "1y", "", "999999999w", "30 days", "१d"]
)
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^--older-than: a whole number with s, m, h, d or w, as"):
        parse_age(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_age(text).total_seconds() == seconds


def test_nothing_chosen_is_refused() -> None:
    for keep_weights in (False, True):
        with pytest.raises(
            UserError, match=r"^choose what goes: --older-than AGE, --job ID, --sup"
        ):
            Choice(keep_weights=keep_weights)
