"""Records of jobs that are odd: each command that reads them says in one line which, and why."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.grown_stores import GrownStore
from support.queues import cells
from support.refusals import Command, assert_refused, everything

OF_A_RECORD = "not the record of a job"
NOT_JSON = [b"{", b"", b"\xff\xfe{", b"[" * 200_000, b'{"cells":' + b"[" * 100_000]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"job_id": [1]}, "its job_id is not the file's name"),
    ({"job_id": 5}, "its job_id is not the file's name"),
    ({"job_id": None}, "its job_id is not the file's name"),
    ({"job_id": {}}, "its job_id is not the file's name"),
    ({"job_id": "../../x"}, "its job_id is not the file's name"),
    ({"job_id": "a"}, "its job_id is not the file's name"),  # another job's
    ({"job_id": "\ud800"}, "its job_id is not the file's name"),
    ({"cells": {}}, "cells must be a list"),
    ({"cells": None}, "cells must be a list"),
    ({"evaluations": 5}, "evaluations must be an object"),
    ({"evaluations": None}, "evaluations must be an object"),
    ({"evaluations": [[1]]}, "evaluations must be an object"),
    ({"folder": 5}, "folder must be a text or null"),
    ({"folder": ["a"]}, "folder must be a text or null"),
    ({"submitted_at": 5}, "submitted_at must be a text"),
    ({"submitted_at": None}, "submitted_at must be a text"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> GrownStore:
    found = GrownStore(tmp_path_factory.mktemp("grown") / "store")
    found.train("a", cells(1))
    found.train("b", cells(1), force=True)
    return found


@pytest.fixture
def grown(made: GrownStore, tmp_path: Path) -> GrownStore:
    return made.copy(tmp_path / "store")


def commands(grown: GrownStore) -> list[list[str]]:
    store = str(grown.folder)
    return [
        *(["prune", store, *choice] for choice in (["--job", "a"], ["--superseded"])),
        *(["prune", store, "--older-than", "0s", *dry] for dry in ([], ["--dry-run"])),
        ["table", "--store", store],
        ["logs", "--store", store, "FCN/none/R/seed0"],
        ["rerun", "--store", store, "--model", "CNN"],
    ]


def assert_one_line(grown: GrownStore, command: Command, *parts: str) -> None:
    kept = ("cells", "logs", "checkpoints", "jobs")
    before = {n: c for n, c in everything(grown.folder).items() if n.startswith(kept)}
    for arguments in commands(grown):
        assert_refused(command(*arguments), *parts)
    after = {n: c for n, c in everything(grown.folder).items() if n.startswith(kept)}
    assert after == before


@pytest.mark.parametrize("content", NOT_JSON, ids=lambda content: repr(content[:12]))
def test_what_is_not_json_is_named(grown: GrownStore, command: Command, content: bytes) -> None:
    (grown.folder / "jobs" / "odd.json").write_bytes(content)
    assert_one_line(grown, command, "jobs/odd.json: not JSON: ")


@pytest.mark.parametrize(("fields", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_field_is_named(
    grown: GrownStore, command: Command, fields: dict[str, Any], said: str
) -> None:
    record = json.loads((grown.folder / "jobs" / "a.json").read_text())
    odd = {**record, "job_id": "odd", **fields}
    (grown.folder / "jobs" / "odd.json").write_text(json.dumps(odd))
    assert_one_line(grown, command, f"jobs/odd.json: {OF_A_RECORD}: {said}")


def test_a_time_without_a_zone_is_named_by_prune(grown: GrownStore, command: Command) -> None:
    record = json.loads((grown.folder / "jobs" / "a.json").read_text())
    odd = {**record, "job_id": "odd", "submitted_at": "2026-01-01T00:00:00", "force": True}
    (grown.folder / "jobs" / "odd.json").write_text(json.dumps(odd))
    for arguments in commands(grown)[:4]:
        assert_refused(command(*arguments), "jobs/odd.json: ")


def test_a_folder_by_the_name_of_a_record_is_none_and_what_is_in_it_is_named(
    grown: GrownStore, command: Command
) -> None:
    folder = grown.folder / "jobs" / "odd.json"
    folder.mkdir()
    assert command("table", "--store", grown.folder).code == 0
    shutil.copyfile(grown.folder / "jobs" / "a.json", folder / "a.json")
    assert_one_line(grown, command, "jobs/odd.json/a.json: lies deeper than records of jobs")


@pytest.mark.parametrize("folder", ["jobs", "cells", "curves"])
def test_a_name_that_is_not_utf_8_is_told(grown: GrownStore, command: Command, folder: str) -> None:
    odd = os.fsencode(grown.folder / folder) + b"/\xffodd.json"
    Path(os.fsdecode(odd)).write_bytes(b"{}")
    said = f"{grown.folder}/{folder}: has a file or folder that is not the store's, as its name is "
    for arguments in [*commands(grown)[:4], ["compact", str(grown.folder)]]:
        if (arguments[0], folder) != ("compact", "jobs"):  # where it does not look
            assert_refused(command(*arguments), said, "odd.json': remove or rename it")
    assert Path(os.fsdecode(odd)).exists()
