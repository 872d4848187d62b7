"""Thread binding: what OpenMP's variables do to a process is undone for those that it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stn_cluster.thread_binding import VARIABLES, binding_remark, unbind, unbound

AFFINITY = "len(os.sched_getaffinity(0))"
CHILD = f'[sys.executable, "-c", "import os, torch; print({AFFINITY})"]'

several_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core: there is nothing to bind to"
)


def cores_of(code: str, **environment: str) -> list[int]:
    """Numbers that a fresh Python prints."""
    code = f"import os, subprocess, sys\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@several_cores
@pytest.mark.parametrize(
    "variable", ["OMP_PROC_BIND=true", "GOMP_CPU_AFFINITY=0", "OMP_PLACES=cores"]
)
def test_a_process_that_is_unbound_before_pytorch_is_loaded_has_all_cores(variable: str) -> None:
    name, _, value = variable.partition("=")
    bound = f"import torch\nprint({AFFINITY})"
    [one], [several] = (
        cores_of(code, **{name: value})
        for code in (bound, f"from stn_cluster.thread_binding import unbind; unbind()\n{bound}")
    )
    assert one == 1
    assert several == len(os.sched_getaffinity(0))


@several_cores
def test_processes_of_a_bound_one_have_all_cores_within_the_block() -> None:
    code = f"""
import torch
from stn_cluster.thread_binding import unbound
print({AFFINITY})
with unbound():
    subprocess.run({CHILD}, check=True)
print({AFFINITY})
"""
    assert cores_of(code, OMP_PROC_BIND="true", PYTHONUNBUFFERED="1") == [
        1,
        len(os.sched_getaffinity(0)),
        1,
    ]


@several_cores
def test_a_plug_in_that_loads_pytorch_binds_nothing(tmp_path: object) -> None:
    code = f"""
from pathlib import Path
from stn_cluster.registry import load_plugins
Path({str(tmp_path)!r}, "mine.py").write_text("import torch")
load_plugins(["mine"], [Path({str(tmp_path)!r})])
print({AFFINITY})
"""
    assert cores_of(code, OMP_PROC_BIND="close") == [len(os.sched_getaffinity(0))]


def test_the_variables_are_removed_and_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert binding_remark() is None
    monkeypatch.setenv("OMP_PROC_BIND", "spread")
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    remark = binding_remark()
    assert remark is not None
    assert remark.startswith("OMP_PROC_BIND=spread, OMP_THREAD_LIMIT=1: not used for workers")
    before = dict(os.environ)
    with unbound():
        assert before.keys() - os.environ.keys() == {"OMP_PROC_BIND", "OMP_THREAD_LIMIT"}
    assert dict(os.environ) == before
    assert unbind() == {"OMP_PROC_BIND": "spread", "OMP_THREAD_LIMIT": "1"}
    assert binding_remark() is None
