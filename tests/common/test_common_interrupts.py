"""SIGTERM ends a run as Ctrl-C does, in the terminal and in the background, and long runs between two steps."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from glesam.common.interrupts import deferred_interrupt

STEPS = """
import signal, sys, time
from glesam.common.interrupts import deferred_interrupt, hear_terminate, terminated
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
hear_terminate()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("unwound", terminated(), flush=True)
"""


@pytest.mark.parametrize("hearing", ["plain", "deaf"])
def test_sigterm_unwinds_also_where_ctrl_c_is_ignored(hearing: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", STEPS, hearing], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "unwound True\n"


def test_the_first_interrupt_waits_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
