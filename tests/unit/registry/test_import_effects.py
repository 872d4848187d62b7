"""What the import of a plug-in changes in the process: undone, and said in one line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.plugin_sources import a_model, write

from stn_cluster.errors import UserError
from stn_cluster.registry import load_plugins, lookup


def torch_state() -> Any:
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_rng_state().tolist(),
        torch.backends.cudnn.benchmark,
    )


CASES: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "dtype": ("torch.set_default_dtype(torch.float64)", "torch's default dtype", torch_state),
    "device": ("torch.set_default_device('meta')", "torch's default device", torch_state),
    "grad": ("torch.set_grad_enabled(False)", "torch's grad mode", torch_state),
    "threads": ("torch.set_num_threads(3)", "torch's number of threads", torch_state),
    "deterministic": (
        "torch.use_deterministic_algorithms(True)",
        "torch's deterministic algorithms",
        torch_state,
    ),
    "precision": (
        "torch.set_float32_matmul_precision('medium')",
        "torch's precision of float32 products",
        torch_state,
    ),
    "seed": ("torch.manual_seed(0)", "torch's seed", torch_state),
    "cudnn": ("torch.backends.cudnn.benchmark = True", "torch's cudnn.benchmark", torch_state),
    "numpy": (
        "np.random.seed(0)",
        "the seed of numpy.random",
        lambda: np.random.get_state()[1].tolist(),  # type: ignore[index,union-attr]
    ),
    "random": ("random.seed(0)", "the seed of random", random.getstate),
    "seterr": ("np.seterr(all='raise')", "numpy's handling of errors", np.geterr),
    "folder": ("os.chdir('/')", "the working folder", os.getcwd),
    "path": ("sys.path.insert(0, '/x')", "sys.path", lambda: list(sys.path)),
    "new path": ("sys.path = ['/x'] + sys.path", "sys.path", lambda: list(sys.path)),
    "environment": (
        "os.environ['CUDA_VISIBLE_DEVICES'] = ''\ndel os.environ['HOME']",
        "the environment",
        lambda: dict(os.environ),
    ),
    "filters": (
        "warnings.simplefilter('ignore')",
        "warnings filters",
        lambda: list(warnings.filters),
    ),
    "handler": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "the handler of SIGTERM",
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "stdout": ("sys.stdout = None", "sys.stdout", lambda: sys.stdout),
    "stderr": ("sys.stderr = open(os.devnull, 'w')", "sys.stderr", lambda: sys.stderr),
    "recursion": ("sys.setrecursionlimit(5000)", "the recursion limit", sys.getrecursionlimit),
    "logging": ("logging.getLogger().setLevel(1)", "logging", lambda: logging_level()),
}
IMPORTS = "import logging, os, random, signal, sys, warnings\nimport numpy as np\nimport torch"


def logging_level() -> Any:
    import logging

    return logging.getLogger().level, list(logging.getLogger().handlers)


@pytest.mark.parametrize("case", CASES)
def test_what_an_import_changes_is_undone_and_named(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    statement, what, state = CASES[case]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = state()
    write(tmp_path, "mine.py", a_model("Mine", f"{IMPORTS}\n{statement}"))
    load_plugins(["mine"], [tmp_path])
    assert state() == before
    assert caplog.messages == [
        f"plug-in 'mine': its import changed {what}; this has been undone, as other cells share "
        "the process"
    ]


def test_a_plugin_that_changes_nothing_is_not_mentioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", f"{IMPORTS}\nimport sklearn.datasets"))
    load_plugins(["mine"], [tmp_path])
    assert caplog.messages == []


def test_what_an_import_has_changed_before_it_fails_is_undone_too(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", f"{IMPORTS}\nos.chdir('/')\nraise ValueError('no')")
    before = Path.cwd()
    with pytest.raises(UserError, match="'mine' does not import: ValueError: no"):
        load_plugins(["mine"], [tmp_path])
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("sys.exit(3)", "'mine' does not import: SystemExit: 3"),
        ("os._exit(3)", r"'mine': ends the process when it is imported \(os._exit\)"),
        ("os.abort()", r"'mine': ends the process when it is imported \(os.abort\)"),
        ("input('Your name? ')", "'mine': reads the standard input when it is imported"),
        ("sys.stdin.read()", "'mine': reads the standard input when it is imported"),
        ("for line in sys.stdin: pass", "'mine': reads the standard input when it is imported"),
    ],
)
def test_an_import_neither_ends_the_process_nor_waits_for_input(
    tmp_path: Path, statement: str, message: str
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", f"import os, sys\n{statement}"))
    before = sys.stdin, os._exit
    with pytest.raises(UserError, match=message):
        load_plugins(["mine"], [tmp_path])
    assert (sys.stdin, os._exit) == before


def test_a_look_at_the_standard_input_is_no_question(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", "import sys\nassert not sys.stdin.isatty()"))
    load_plugins(["mine"], [tmp_path])
    assert lookup("model", "Mine")


def test_a_child_process_of_an_import_may_end(tmp_path: Path) -> None:
    child = "import os\npid = os.fork()\nif not pid: os._exit(7)\nstatus = os.waitpid(pid, 0)[1]"
    write(tmp_path, "mine.py", a_model("Mine", f"{child}\nassert os.WEXITSTATUS(status) == 7"))
    load_plugins(["mine"], [tmp_path])
    assert lookup("model", "Mine")


def test_in_a_worker_where_the_import_is_no_main_thread_handlers_are_no_error(
    tmp_path: Path,
) -> None:
    write(tmp_path, "mine.py", a_model("Mine", "import signal\nsignal.signal(15, print)"))
    thread = threading.Thread(target=load_plugins, args=(["mine"], [tmp_path]))
    thread.start()
    thread.join()
    assert lookup("model", "Mine")


def test_what_an_import_prints_is_no_result(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", "print('hello')"))
    code = "from stn_cluster.registry import load_plugins; load_plugins(['mine']); print('done')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("done\n", "hello\n")


def test_another_thread_may_end_the_process_meanwhile(tmp_path: Path) -> None:
    ending = "import os, threading, time\nthreading.Thread(target=os._exit, args=(7,)).start()"
    write(tmp_path, "mine.py", a_model("Mine", f"{ending}\ntime.sleep(30)"))
    code = "from stn_cluster.registry import load_plugins; load_plugins(['mine'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60)
    assert done.returncode == 7
