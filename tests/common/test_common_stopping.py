"""Work that is told to stop does so at its next step, in its own thread alone."""

from __future__ import annotations

import threading

import pytest

from glesam.common.stopping import StoppedError, check, stoppable


def test_only_a_set_flag_of_the_innermost_block_stops() -> None:
    outer, inner = threading.Event(), threading.Event()
    check()
    with stoppable(outer):
        check()
        with stoppable(inner):
            outer.set()
            check()
        with pytest.raises(StoppedError):
            check()
    check()


def test_other_threads_go_on() -> None:
    flag, seen = threading.Event(), []
    flag.set()

    def other() -> None:
        check()
        seen.append("other")

    with stoppable(flag):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
    assert seen == ["other"]
