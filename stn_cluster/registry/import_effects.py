"""What an import changes in the process beyond its own modules: all of it is undone.

A worker trains other people's cells after it, and its numbers must not depend on whose plug-in it
has imported before. Each effect is named once, in one line.
"""

from __future__ import annotations

import gc
import importlib
import io
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from stn_cluster.errors import UserError


@dataclass(frozen=True)
class Setting:
    """One thing that an import may change."""

    what: str  # in the line that names it
    words: tuple[str, ...]  # one is in sources that change it on purpose, as a library need not
    read: Callable[[], Any]
    write: Callable[[Any], object]


@contextmanager
def undone(words: Set[str]) -> Iterator[list[str]]:
    """Undoes, at the block's end, what the block changes in the process.

    What it prints goes to the standard error: the standard output is for results. It ends neither
    the process nor waits for input.

    Args:
        words: names in the sources which run in the block.

    Yields:
        A list, which has at the end the names of what has been undone, and that the sources
        themselves can have changed.

    Raises:
        UserError: the block asks for input or ends the process; all else that it raises passes.
    """
    for name in ("numpy", "torch"):  # else their settings before could not be known
        if name in words:
            with suppress(ImportError):
                importlib.import_module(name)
    settings = [*_process_settings(), *_numpy_settings(), *_torch_settings()]
    before = [(setting, setting.read()) for setting in settings]
    before_stderr = sys.stderr
    changed: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys, "stdin", _NoInput()))
        for name in ("_exit", "abort", "execv", "execve"):
            stack.enter_context(patch.object(os, name, _refusing_to_end(name)))
        if threading.current_thread() is not threading.main_thread():  # where Python refuses it
            stack.enter_context(
                patch.object(signal, "signal", lambda sign, _: signal.getsignal(sign))
            )
        out, sys.stdout = sys.stdout, sys.stderr
        try:
            yield changed
        finally:
            if sys.stdout is not before_stderr:
                changed.append("sys.stdout")
            sys.stdout = out
            for setting, value in before:
                if not _equal(setting.read(), value):
                    setting.write(value)
                    if not words.isdisjoint(setting.words):
                        changed.append(setting.what)


class _NoInput(io.TextIOBase):
    """Standard input of a plug-in that is imported: nobody would answer."""

    def read(self, size: int | None = -1) -> str:
        raise UserError("reads the standard input when it is imported")

    def readline(self, size: int = -1) -> NoReturn:  # type: ignore[override]
        raise UserError("reads the standard input when it is imported")


def _refusing_to_end(name: str) -> Callable[..., None]:
    original = getattr(os, name)
    here = os.getpid(), threading.get_ident()

    def end(*arguments: Any) -> None:
        if (os.getpid(), threading.get_ident()) == here:
            raise UserError(f"ends the process when it is imported (os.{name})")
        original(*arguments)  # a forked child, or a worker without a lease

    return end


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if type(one).__module__.partition(".")[0] in ("torch", "numpy") and hasattr(one, "tobytes"):
        return bool((one == other).all())
    if type(one).__name__ == "Tensor":
        return bool((one == other).all())
    return one is other or bool(one == other)


def _process_settings() -> Iterator[Setting]:
    yield Setting("the working folder", ("chdir",), _folder, _change_folder)
    yield Setting(
        "the environment", ("environ", "putenv"), lambda: dict(os.environ), _replace_environment
    )
    yield _list("path")
    yield _list("argv")
    for name in ("stderr", "excepthook", "displayhook"):
        yield _attribute(sys, name)
    yield Setting(
        "the recursion limit", ("setrecursionlimit",), sys.getrecursionlimit, sys.setrecursionlimit
    )
    yield Setting(
        "warnings filters",
        ("simplefilter", "filterwarnings"),
        lambda: list(warnings.filters),
        _replace_filters,
    )
    yield _attribute(warnings, "showwarning")
    yield Setting("the seed of random", ("seed",), random.getstate, random.setstate)
    yield Setting(
        "garbage collection", ("gc",), gc.isenabled, lambda on: (gc.disable, gc.enable)[on]()
    )
    root = logging.getLogger()
    yield Setting("logging", ("logging",), lambda: _logging(root), lambda s: _set_logging(root, s))
    yield Setting(
        "the start method of processes",
        ("set_start_method",),
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda method: multiprocessing.set_start_method(method, force=True),
    )
    if threading.current_thread() is threading.main_thread():
        for sign in signal.valid_signals():
            if (handler := signal.getsignal(sign)) is not None:
                yield _handler(sign, handler)


def _handler(sign: signal.Signals, handler: Any) -> Setting:
    name = getattr(sign, "name", str(sign))
    return Setting(
        f"the handler of {name}",
        ("signal",),
        lambda: signal.getsignal(sign),
        lambda _: signal.signal(sign, handler),
    )


def _numpy_settings() -> Iterator[Setting]:
    np: Any = sys.modules.get("numpy")
    if np is None or not hasattr(np, "random"):
        return
    yield Setting("the seed of numpy.random", ("seed",), np.random.get_state, np.random.set_state)
    yield Setting(
        "numpy's handling of errors", ("seterr",), np.geterr, lambda old: np.seterr(**old)
    )


def _torch_settings() -> Iterator[Setting]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return

    def setting(what: str, read: Callable[[], Any], write: Callable[[Any], object]) -> Setting:
        return Setting(f"torch's {what}", ("torch",), read, write)

    yield setting("default dtype", torch.get_default_dtype, torch.set_default_dtype)
    yield setting("default device", lambda: _default_device(torch), torch.set_default_device)
    yield setting("grad mode", torch.is_grad_enabled, torch.set_grad_enabled)
    yield setting("number of threads", torch.get_num_threads, torch.set_num_threads)
    yield setting(
        "deterministic algorithms",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda old: torch.use_deterministic_algorithms(old[0], warn_only=old[1]),
    )
    yield setting(
        "precision of float32 products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    )
    yield setting("anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled)
    yield setting("seed", torch.get_rng_state, torch.set_rng_state)
    cudnn = torch.backends.cudnn
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield setting(
            f"cudnn.{name}",
            lambda name=name: getattr(cudnn, name),  # type: ignore[misc]
            lambda old, name=name: setattr(cudnn, name, old),  # type: ignore[misc]
        )


def _default_device(torch: Any) -> Any:
    """The default device, or None if none was set: setting 'cpu' would cost every call."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it has been removed
        return None


def _change_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _replace_environment(old: dict[str, str]) -> None:
    for name in set(os.environ) - set(old):
        del os.environ[name]
    os.environ.update(old)


def _list(name: str) -> Setting:
    """A list of `sys`, which stays the same object."""
    values: list[str] = getattr(sys, name)

    def write(old: list[str]) -> None:
        values[:] = old
        setattr(sys, name, values)

    return Setting(f"sys.{name}", ("sys",), lambda: list(getattr(sys, name)), write)


def _replace_filters(old: list[Any]) -> None:
    filters: Any = warnings.filters
    filters[:] = old
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _logging(root: logging.Logger) -> tuple[Any, ...]:
    return root.level, list(root.handlers), root.manager.disable


def _set_logging(root: logging.Logger, state: tuple[Any, ...]) -> None:
    root.setLevel(state[0])
    root.handlers[:] = state[1]
    logging.disable(state[2])


def _attribute(module: Any, name: str) -> Setting:
    return Setting(
        f"{module.__name__}.{name}",
        (module.__name__,),
        lambda: getattr(module, name),
        lambda old: setattr(module, name, old),
    )
