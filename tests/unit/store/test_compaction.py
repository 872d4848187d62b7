"""Compaction: fewer files with the same rows, each of which readers see once at any moment."""

from __future__ import annotations

import itertools
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.compactions import Compactor, compactor, put_in_place
from support.records import TEST_SET, make_cell, make_evaluation_row, make_record

from stn_cluster import load_evaluations, load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import (
    SCHEMA_VERSION,
    SCHEMAS,
    Kind,
    Store,
    Verification,
    add_verifications,
    compaction,
    load_verifications,
)
from stn_cluster.store.compaction import compacted_name, next_run, remove_replaced
from stn_cluster.store.current import is_compacted

PUBLISHED = Path(__file__).parents[3] / "results" / "readings-of-p"
KINDS: list[Kind] = list(SCHEMAS)


def compact(store: Store, whole: bool = True) -> dict[str, str]:
    """Compacts a store to the end; returns the files that were left, and why."""
    steps = store.compact(whole)
    for _ in steps:
        pass
    return steps.left


def names(store: Store, kind: Kind = "cells") -> list[str]:
    """Files of a kind that have rows."""
    found = store._files.names(kind, ".parquet")
    assert found.pop(0) == f"{kind}/0-schema.parquet"
    return found


def rows(store: Store) -> dict[Kind, pa.Table]:
    return {kind: store.read(kind) for kind in KINDS}


def fill(store: Store, commits: int = 9) -> None:
    """Adds rows of all kinds, in as many files of each."""
    for seed in range(commits):
        cell = make_cell(seed=seed)
        record = make_record(cell, error=None if seed == 3 else 1.5)
        test_set = {**TEST_SET, "test_set": f"{seed * 7919 % 16:016x}"}
        [accepted_at] = store.commit([record], [test_set])
        attempt = record.row["attempt"]
        store.commit_evaluations([make_evaluation_row(cell, attempt=attempt)])
        add_verifications(
            store, [Verification(cell.key, attempt, "cpu", "2.11", 3, 0, True, accepted_at)]
        )


# --- what it does ---


def test_every_row_of_every_kind_stays_in_its_order_in_one_file(any_store: Store) -> None:
    fill(any_store, 4)
    before = rows(any_store)
    results, evaluations = load_results(any_store), load_evaluations(any_store)
    verifications = load_verifications(any_store)
    assert compact(any_store) == {}
    again = Store.open(any_store.uri)
    for kind, table in before.items():
        assert table.num_rows >= 4 or kind in ("predictions", "curves")
        [name] = names(again, kind)
        assert is_compacted(name)
        found = again.read(kind)
        if kind != "test_sets":
            assert found.equals(table)
        assert sorted(map(str, found.to_pylist())) == sorted(map(str, table.to_pylist()))
    pd.testing.assert_frame_equal(load_results(again), results)
    pd.testing.assert_frame_equal(load_evaluations(again), evaluations)
    pd.testing.assert_frame_equal(load_verifications(again), verifications)
    again.check()


def test_what_comes_after_is_compacted_with_it(store: Store) -> None:
    for _ in range(3):
        fill(store, 2)
        before = rows(store)
        compact(store)
        assert {
            kind: store.read(kind).equals(before[kind]) for kind in KINDS if kind != "test_sets"
        }
        assert {kind: len(names(store, kind)) for kind in KINDS} == dict.fromkeys(KINDS, 1)
    assert len(load_results(store, seed=[0, 1])) == 2
    assert len(store.results(latest=False)) == 6


def test_a_compacted_store_is_not_touched_again(store: Store) -> None:
    fill(store)
    compact(store)
    files = {path: path.stat().st_mtime_ns for path in Path(store.uri).rglob("*.parquet")}
    for whole in (True, False):
        compact(store, whole)
    assert {path: path.stat().st_mtime_ns for path in Path(store.uri).rglob("*.parquet")} == files


def test_a_service_leaves_few_files_alone_and_many_not(store: Store) -> None:
    for commits, files in ((7, 7), (1, 1), (6, 7), (1, 1)):
        for _ in range(commits):
            store.commit([make_record()])
        compact(store, whole=False)
        assert len(names(store)) == files


def test_foreign_readers_find_each_row_once_afterwards(store: Store) -> None:
    fill(store)
    before = pd.read_parquet(f"{store.uri}/cells")
    compact(store)
    pd.testing.assert_frame_equal(pd.read_parquet(f"{store.uri}/cells"), before)
    for kind in KINDS:
        assert pq.read_schema(f"{store.uri}/{kind}/0-schema.parquet").names == SCHEMAS[kind].names


def test_large_rows_come_in_several_row_groups(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP", 5_000)
    fill(store)
    before = rows(store)
    compact(store)
    [name] = names(store)
    groups = pq.read_metadata(store._files.where(name)).num_row_groups
    assert 1 < groups < 9
    assert store.read("cells").equals(before["cells"])
    for _ in range(3):
        fill(store, 2)
        compact(store)
    assert store.read("cells").num_rows == 15


def test_rows_of_older_versions_keep_theirs(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "old")
    (tmp_path / "old" / "manifest.json").unlink()
    store = Store.open(tmp_path / "old", create=True)
    store.commit([make_record()], [TEST_SET])
    before = rows(store)
    compact(store)
    versions = store.read("cells")["schema_version"].to_pylist()
    assert set(versions) == {1, SCHEMA_VERSION}
    for kind, table in before.items():
        assert store.read(kind).equals(table)
        assert len(names(store, kind)) <= 1
    store.check()


def test_whoever_could_read_the_files_can_read_the_one_in_their_place(store: Store) -> None:
    fill(store, 3)
    modes = {"cells": 0o640, "curves": 0o604, "predictions": 0o600}
    for kind, mode in modes.items():
        for path in (Path(store.uri) / kind).glob("2*.parquet"):
            path.chmod(mode | 0o044 if path.name < max(names(store)) else mode)
            path.chmod(mode)
    compact(store)
    for kind, mode in modes.items():
        [path] = (Path(store.uri) / kind).glob("2*.parquet")
        assert path.stat().st_mode & 0o777 == mode


# --- files that are not ours to change ---


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def newer(path: Path) -> None:
    table = pq.read_table(path, partitioning=None)
    versions = pa.array([SCHEMA_VERSION + 1] * len(table), pa.int32())
    index = table.schema.get_field_index("schema_version")
    pq.write_table(table.set_column(index, "schema_version", versions), path)


def wider(path: Path) -> None:
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("note", pa.array(["mine"] * len(table))), path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(torn, "torn"), (foreign, "not a file"), (newer, "newer"), (wider, "not know: note")],
)
def test_a_file_that_is_not_wholly_understood_stays_as_it_is(
    store: Store, spoil: Callable[[Path], None], said: str
) -> None:
    fill(store)
    odd = Path(store.uri) / names(store)[4]
    spoil(odd)
    before = odd.read_bytes()
    left = compact(store)
    assert said in left[f"cells/{odd.name}"]
    assert str(odd) in left[f"cells/{odd.name}"]
    assert odd.read_bytes() == before
    assert [is_compacted(name) for name in names(store)] == [True, False, True]
    assert len(names(store, "curves")) == 1
    odd.unlink()
    assert store.read("cells")["seed"].to_pylist() == [0, 1, 2, 3, 5, 6, 7, 8]


def test_files_under_names_of_others_stay(store: Store) -> None:
    fill(store, 5)
    listed = [Path(store.uri) / name for name in names(store)]
    listed[2].rename(listed[2].with_name("mine.parquet"))
    (Path(store.uri) / "cells" / "sub").mkdir()
    listed[1].rename(listed[1].parent / "sub" / listed[1].name)
    compact(store)
    assert len(names(store)) == 3
    assert sorted(store.read("cells")["seed"].to_pylist()) == [0, 1, 2, 3, 4]
    assert (Path(store.uri) / "cells" / "mine.parquet").exists()


# --- readers meanwhile, and crashes ---


def attempts(table: pa.Table) -> list[str]:
    found: list[str] = table["attempt"].to_pylist()
    return found


def check_readers(uri: str, expected: list[str]) -> None:
    """Checks that all readers see these attempts once, and foreign ones all of them."""
    store = Store.open(uri)
    assert attempts(store.read("cells")) == expected
    assert attempts(store.read("predictions", columns=["attempt"])) == expected
    assert attempts(store.read("curves", columns=["attempt"])) == [
        a for a in expected for _ in "12"
    ]
    assert [a for part in store.scan({}, latest=False) for a in attempts(part)] == expected
    assert sorted(store.results(latest=False)["attempt"]) == sorted(expected)
    assert store.predicted_classes(expected).keys() == set(expected)
    store.revision()


def check_pandas(uri: str, expected: list[str]) -> None:
    for kind in ("cells", "predictions"):
        frame = pd.read_parquet(f"{uri}/{kind}", columns=["attempt"])
        assert set(frame["attempt"]) == set(expected)


def add_commits(store: Store, expected: list[str], *sizes: int) -> None:
    """Adds succeeded attempts in commits of these sizes."""
    for size in sizes:
        records = [make_record() for _ in range(size)]
        store.commit(records)
        expected += [record.row["attempt"] for record in records]


def test_readers_see_each_attempt_once_after_every_step(store: Store) -> None:
    expected: list[str] = []
    add_commits(store, expected, 1, 2)
    compact(store)
    add_commits(store, expected, 1, 3)
    seen = Store.open(store.uri)  # it remembers what it has read
    for _ in store.compact(whole=True):
        assert attempts(seen.read("cells")) == expected
        check_readers(store.uri, expected)
        check_pandas(store.uri, expected)


def test_a_compaction_that_was_given_up_is_finished_by_the_next_and_by_opening(
    any_store: Store,
) -> None:
    expected: list[str] = []
    add_commits(any_store, expected, *[1] * 4)
    steps = any_store.compact(whole=True)
    for _ in steps:
        if steps.swapping:
            break
    assert len(names(any_store)) == 5
    check_readers(any_store.uri, expected)
    any_store.sweep()
    assert len(names(any_store)) == 5
    Store.open(any_store.uri, create=True)
    assert len(names(any_store)) == 1
    check_readers(any_store.uri, expected)
    add_commits(any_store, expected, 1)
    steps = any_store.compact(whole=True)
    for _ in steps:
        if steps.swapping and len(names(any_store)) == 2:
            break
    compact(any_store)
    assert len(names(any_store)) == 1
    check_readers(any_store.uri, expected)


def test_a_file_that_is_replaced_itself_goes_after_those_that_it_has_replaced(store: Store) -> None:
    """As where a backup has brought back what was gone."""
    expected: list[str] = []
    add_commits(store, expected, *[1] * 4)
    listed = [name.partition("/")[2] for name in names(store)]
    first = put_in_place(store, listed[1:3], "1")
    put_in_place(store, [first, listed[3]], "0")
    check_readers(store.uri, expected)
    for _ in remove_replaced(store._files, "cells"):
        check_readers(store.uri, expected)
    assert [is_compacted(name) for name in names(store)] == [False, True]


def test_nothing_is_removed_for_a_compacted_file_that_is_torn(store: Store) -> None:
    expected: list[str] = []
    add_commits(store, expected, *[1] * 3)
    steps = store.compact(whole=True)
    for _ in steps:
        if steps.swapping:
            break
    [name] = filter(is_compacted, names(store))
    path = Path(store.uri) / name
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + bytes(len(whole) // 2) + whole[len(whole) // 2 + 4 :])
    with pytest.raises(StoreError, match=f"{path.name}: torn"):
        Store.open(store.uri, create=True).finish_compaction()
    assert len(names(store)) == 4
    path.unlink()
    check_readers(store.uri, expected)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compactor]:
    with compactor(tmp_path_factory.mktemp("markers")) as started:
        yield started


POINTS = (
    *("cells-drafted", "curves-drafted", "predictions-drafted"),
    *("compaction-written", "compaction-removed"),
)


@pytest.mark.parametrize(
    ("rounds", "point", "count"),
    [
        *((1, point, 1) for point in POINTS[:3]),
        *((2, "compaction-written", 1), (1, "compaction-written", 2), (2, "compaction-written", 3)),
        *((1, "compaction-removed", 1), (2, "compaction-removed", 2), (3, "compaction-removed", 7)),
    ],
)
def test_sigkill_at_any_boundary_neither_loses_nor_doubles_a_row(
    store: Store, killed: Compactor, rounds: int, point: str, count: int
) -> None:
    """Each round's compaction takes in the last one's; the last dies the n-th time it comes to a
    point."""
    expected: list[str] = []
    for _ in range(rounds - 1):
        add_commits(store, expected, 1, 2, 1)
        assert killed.run(store.uri, True) == 0
    add_commits(store, expected, 1, 2, 1)
    assert killed.run(store.uri, True, point, count) == -signal.SIGKILL
    check_readers(store.uri, expected)
    check_pandas(store.uri, expected)
    assert killed.run(store.uri, True) == 0
    check_readers(store.uri, expected)
    check_pandas(store.uri, expected)
    for kind in ("cells", "curves", "predictions"):
        assert len(names(store, kind)) == 1


STEPS = st.one_of(
    st.tuples(st.just("commit"), st.integers(1, 3)),
    st.tuples(st.sampled_from([True, False]), st.sampled_from(["", *POINTS]), st.integers(1, 4)),
    st.just(("finish",)),
)


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(STEPS, min_size=4, max_size=10))
def test_any_sequence_of_commits_compactions_and_crashes(
    steps: list[Any], killed: Compactor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store.open(tmp_path_factory.mktemp("store"), create=True)
    expected: list[str] = []
    for first, *others in steps:
        if first == "commit":
            add_commits(store, expected, *[1, 2, 1][: others[0]])
        elif first == "finish":
            store.finish_compaction()
        else:
            killed.run(store.uri, first, *others)
        check_readers(store.uri, expected)
        check_pandas(store.uri, expected)
    assert killed.run(store.uri, True) == 0
    check_readers(store.uri, expected)
    assert len(names(store)) <= 1


def test_a_reader_beside_many_compactions_sees_each_attempt_once(store: Store) -> None:
    expected: list[str] = []
    add_commits(store, expected, 1, 1)
    ended = threading.Event()

    def read(one: Store) -> int:
        for turn in itertools.count():
            known = list(expected)
            last = ended.is_set()
            found = [a for part in one.scan({}, latest=False) for a in attempts(part)]
            found = attempts(one.read("cells", columns=["attempt"])) if turn % 2 else found
            assert found[: len(known)] == known
            assert len(set(found)) == len(found)
            if last:
                return turn
        raise AssertionError

    with ThreadPoolExecutor(2) as readers:
        turns = [readers.submit(read, Store.open(store.uri)) for _ in range(2)]
        for _ in range(12):
            add_commits(store, expected, 1, 1)
            compact(store)
        ended.set()
        assert all(turn.result() > 0 for turn in turns)
    assert names(store) == [name for name in names(store) if is_compacted(name)]


def test_pandas_beside_a_compaction_never_finds_fewer_rows(store: Store) -> None:
    expected: list[str] = []
    add_commits(store, expected, *[1] * 20)
    ended = threading.Event()

    def read() -> int:
        for turn in itertools.count():
            last = ended.is_set()
            with suppress(FileNotFoundError):  # it was listed, and gone when it was to be read
                check_pandas(store.uri, expected)
            if last:
                return turn
        raise AssertionError

    with ThreadPoolExecutor(1) as readers:
        reader = readers.submit(read)
        for seconds in store.compact(whole=True):
            time.sleep(seconds / 4)
        ended.set()
        assert reader.result() > 0


# --- which files become one ---


def test_a_compacted_file_sorts_where_the_first_of_its_files_was() -> None:
    times = [f"cells/20260101T00000000000{n}-{n}bcdef01.parquet" for n in range(4)]
    first = compacted_name(times[1:3])
    assert sorted([times[0], first, times[3]]) == [times[0], first, times[3]]
    assert sorted([*times, first]) == [times[0], first, *times[1:]]
    second = compacted_name([first, times[3]])
    assert second != first
    assert sorted([times[0], second]) == [times[0], second]
    assert compacted_name(times[1:3]) == first


SIZES = st.lists(st.one_of(st.integers(1_000, 30_000), st.integers(1_000, 40_000_000)), max_size=60)


def named(sizes: list[int]) -> dict[str, int]:
    return {f"cells/20260101T{n:012}-abcdef01.parquet": size for n, size in enumerate(sizes)}


@given(sizes=SIZES, whole=st.booleans(), left=st.sets(st.integers(0, 59), max_size=3))
def test_only_neighbours_that_are_not_left_and_not_large_become_one(
    sizes: list[int], whole: bool, left: set[int]
) -> None:
    files = named(sizes)
    listed = list(files)
    unfit = {name for n, name in enumerate(listed) if n in left}
    run = next_run(files, unfit, whole)
    if run:
        begin = listed.index(run[0])
        assert listed[begin : begin + len(run)] == run
        assert unfit.isdisjoint(run)
        assert sum(files[name] for name in run) <= compaction.LARGEST
        total = sum(files[name] for name in run)
        assert len(run) >= (2 if whole else compaction.FEWEST_FILES) or total > 2**24
        assert whole or total >= 2 * max(files[n] for n in run)
    elif whole:
        for (one, size), (other, next_size) in itertools.pairwise(files.items()):
            small = max(size, next_size) <= compaction.LARGEST // 2
            assert not small or {one, other} & unfit


def test_a_kinds_names_in_one_file_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_FILES", 5)
    assert len(next_run(named([1_000] * 12), (), True)) == 5


@pytest.mark.parametrize("size", [300, 18_000, 2_000_000])
def test_what_is_written_for_a_row_grows_with_the_logarithm(size: int) -> None:
    """Of a service that is idle after each commit."""
    files: dict[str, int] = {}
    written, most, count = 0, 0, 5_000
    for number in range(count):
        files[f"cells/20260101T{number:012}-abcdef01.parquet"] = size
        while run := next_run(files, (), False):
            total = sum(files.pop(name) for name in run)
            files[compacted_name(run)] = total
            files = dict(sorted(files.items()))
            written += total
        most = max(most, len([s for s in files.values() if s < compaction.LARGEST // 2]))
    levels = math.log2(compaction.LARGEST / size)
    assert written / (count * size) <= levels
    assert most <= 8 * levels
