"""Signals: the first one interrupts, a second one ends the process at once, in any order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from stn_cluster.cluster import signals as module
from stn_cluster.cluster.signals import INTERRUPTED, STOPPING, interrupts, say_stopping

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_active", None)


def handlers() -> list[object]:
    return [signal.getsignal(each) for each in SIGNALS]


@pytest.mark.parametrize("sign", SIGNALS)
def test_a_signal_interrupts_the_block_and_the_handlers_of_before_are_back(
    sign: signal.Signals,
) -> None:
    before = handlers()
    seen: list[bool] = []

    def send() -> None:
        with interrupts() as interrupted:
            seen.append(interrupted.is_set())
            try:
                os.kill(os.getpid(), sign)
                time.sleep(60)
            finally:
                seen.append(interrupted.is_set())
                assert interrupted.signal == sign

    with pytest.raises(KeyboardInterrupt):
        send()
    assert seen == [False, True]
    assert handlers() == before


def test_an_inner_block_sets_handlers_that_were_replaced_again() -> None:
    before = handlers()
    with interrupts() as outer:
        ours = handlers()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray sets its own
        with interrupts() as inner:
            assert inner is outer
            assert handlers() == ours
    assert handlers() == before


def test_a_block_that_only_wants_to_know_is_not_interrupted() -> None:
    with interrupts((signal.SIGTERM,), raises=False) as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted.wait(60)
        assert interrupted.signal == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # forwarded by somebody: the same one
        time.sleep(0.01)


def test_a_lost_terminal_is_no_signal_for_who_ignores_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with interrupts() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert not interrupted.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_block_in_another_thread_sets_no_handlers() -> None:
    before = handlers()
    inside: list[object] = []

    def run() -> None:
        with interrupts() as interrupted:
            inside.extend(handlers())
            inside.append(interrupted.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [*before, False]


STOPS_SLOWLY = """
import time
from stn_cluster.cluster.signals import interrupts, say_stopping

with interrupts() as interrupted:
    try:
        print("runs", flush=True)
        time.sleep(60)
    finally:
        say_stopping()
        print("stops", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("sign", SIGNALS)
def test_a_second_signal_ends_at_once_and_without_a_word(sign: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS_SLOWLY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    process.send_signal(sign)
    assert process.stdout.readline() == "stops\n"
    time.sleep(2 * module.SAME_SECONDS)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == INTERRUPTED
    assert errors == f"{STOPPING}\n"


def test_what_nobody_can_read_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        say_stopping()
        monkeypatch.undo()
        closed.buffer.raw.close()  # type: ignore[attr-defined]  # or it fails again
