"""`compact`: what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.records import make_record
from support.refusals import Command, assert_refused, everything, make_command
from support.small_disks import fill, small_disk

from stn_cluster.store import Store, compaction
from stn_cluster.store.schema import SCHEMAS


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(compaction, "SWAP_SECONDS", 0.0)
    return make_command(monkeypatch, capsys)


@pytest.fixture
def filled(store: Store) -> Path:
    for _ in range(3):
        store.commit([make_record()])
    assert store.local_path is not None
    return store.local_path


def test_it_says_how_many_files_there_were_and_are(command: Command, filled: Path) -> None:
    told = command("compact", filled)
    assert (told.code, told.err) == (0, "")
    *kinds, total = told.out.splitlines()
    assert [line.partition(" MB -> ")[0].rpartition(" ")[0] for line in kinds] == [
        f"{kind}: 4 files," for kind in ("cells", "curves", "predictions")
    ]
    assert total.startswith(f"{filled}: 15 files, ")
    assert " -> 9 files, " in total
    assert Store.open(filled).read("cells").num_rows == 3
    told = command("compact", filled)
    assert told.code == 0
    assert told.out.startswith(f"{filled}: nothing to compact: 9 files, ")


def test_a_file_that_is_left_is_named(command: Command, filled: Path) -> None:
    torn = filled / "cells" / "20260101T000000000000-abcdef01.parquet"
    torn.write_bytes(b"PAR1 and then the power went")
    told = command("compact", filled)
    assert told.code == 0
    assert told.err.startswith(f"left as it is: {torn}: torn")
    assert " -> 10 files, " in told.out
    assert torn.read_bytes() == b"PAR1 and then the power went"


def test_a_full_disk_is_one_line_and_nothing_is_lost(command: Command, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        full = Store.open(disk / "store", create=True)
        for _ in range(3):
            full.commit([make_record()])
        filler = fill(disk)
        before = everything(disk / "store")
        told = command("compact", disk / "store")
        assert_refused(told, f"{disk}/store/cells/", "cannot be written: No space left on device")
        after = everything(disk / "store")
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() <= {"lock"}
        filler.unlink()
        assert command("compact", disk / "store").code == 0
        assert Store.open(disk / "store").read("cells").num_rows == 3


def test_a_list_of_replaced_files_that_is_none_is_told(command: Command, filled: Path) -> None:
    schema = SCHEMAS["cells"]
    name = "20260101T000000000000-abcdef01-c01234567.parquet"
    for odd in (b"{", b"5", b"\xff", b"[" * 100_000):
        with pq.ParquetWriter(filled / "cells" / name, schema) as writer:
            writer.add_key_value_metadata({"stn_cluster.replaces": odd})
        assert_refused(command("compact", filled), f"{name}: torn")


def test_files_that_are_said_to_replace_each_other_end_nothing(
    command: Command, filled: Path
) -> None:
    a, b, c = (f"20260101T000000000000-abcdef0{n}-c01234567.parquet" for n in range(3))
    for name, replaced in ((a, b), (b, a), (c, a)):
        with pq.ParquetWriter(filled / "cells" / name, SCHEMAS["cells"]) as writer:
            writer.add_key_value_metadata({"stn_cluster.replaces": json.dumps([replaced])})
    told = command("compact", filled)
    assert (told.code, told.err) == (0, "")
    assert Store.open(filled).read("cells").num_rows == 3


def test_a_published_store_is_refused(command: Command, filled: Path) -> None:
    (filled / "manifest.json").write_text("{}")
    before = everything(filled)
    assert_refused(command("compact", filled), str(filled), "published store", "manifest.json")
    assert everything(filled) == before


def test_a_store_that_a_service_holds_is_refused(command: Command, filled: Path) -> None:
    before = everything(filled)
    with Store.open(filled).lock():
        assert_refused(command("compact", filled), str(filled), "service holds this store")
    after = everything(filled)
    assert {name: after[name] for name in before} == before
    assert command("compact", filled).code == 0


def test_what_is_no_store_is_refused(command: Command, tmp_path: Path, filled: Path) -> None:
    assert_refused(command("compact", tmp_path / "none"), "no result store here")
    assert_refused(command("compact", filled / "cells"), "no result store here")
    assert_refused(command("compact"), "STORE")
