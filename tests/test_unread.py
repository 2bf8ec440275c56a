"""A command that waits hears that nobody reads what it prints."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from dynatwist.cli.unread import ended_when_unread


@pytest.mark.parametrize("lost", [0, 1, 3], ids="{} signals come too early to end the wait".format)
def test_a_closed_pipe_ends_the_wait_of_the_main_thread(monkeypatch, lost):
    reader, writer = os.pipe()
    kill, calls = signal.pthread_kill, []

    def pthread_kill(thread, number):
        calls.append(number)
        if len(calls) > lost:
            kill(thread, number)

    monkeypatch.setattr(signal, "pthread_kill", pthread_kill)
    before = signal.getsignal(signal.SIGPIPE)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        os.close(reader)
        with pytest.raises(BrokenPipeError), ended_when_unread():
            threading.Event().wait(20)
    assert len(calls) == lost + 1
    assert signal.getsignal(signal.SIGPIPE) == before
