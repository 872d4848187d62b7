"""Signals: within the block, what ends a training raises KeyboardInterrupt and sets the event."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from stn_cluster.cluster.signals import ending_signals, interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("sign", SIGNALS)
def test_a_signal_interrupts_the_block_and_the_handlers_of_before_are_back(
    sign: signal.Signals,
) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    seen: list[bool] = []

    def send() -> None:
        with interrupts() as interrupted:
            seen.append(interrupted.is_set())
            try:
                os.kill(os.getpid(), sign)
                time.sleep(60)
            finally:
                seen.append(interrupted.is_set())

    with pytest.raises(KeyboardInterrupt):
        send()
    assert seen == [False, True]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_block_in_another_thread_sets_no_handlers() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    inside: list[object] = []

    def run() -> None:
        with interrupts() as interrupted:
            inside.extend(signal.getsignal(each) for each in SIGNALS)
            inside.append(interrupted.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [*before, False]


def test_a_process_that_outlives_its_terminal_goes_on_doing_so() -> None:
    """nohup ignores the signal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in ending_signals()
        with interrupts() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupted.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in ending_signals()
