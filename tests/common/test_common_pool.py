"""Work shared by several processes: the same results as in one, a killed worker named, disks that are full."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glesam.common.files import sweep
from glesam.common.pool import cores, outcomes, run, writing
from glesam.errors import ConfigError, DataError, GlesamError, ImageError


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers: int) -> None:
    assert sorted(outcomes(math.factorial, range(7), workers)) == [1, 1, 2, 6, 24, 120, 720]


def test_no_tasks_start_no_process() -> None:
    assert list(outcomes(math.factorial, [], 4)) == []


def test_an_error_of_the_work_comes_through() -> None:
    with pytest.raises(ValueError, match="factorial"):
        list(outcomes(math.factorial, [1, -1], 2))


def test_a_killed_worker_is_named_with_the_cure() -> None:
    with pytest.raises(DataError, match=r"one was killed .* run again with fewer"):
        list(outcomes(os._exit, [3, 3], 2))


def test_cores_are_those_of_this_process() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("code", "cure"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "check its rights")])
def test_errors_of_writing_say_the_cure(tmp_path: Path, code: int, cure: str) -> None:
    with pytest.raises(DataError, match=cure), writing(tmp_path):
        raise OSError(code, os.strerror(code))


def square(task: int) -> tuple[int, int]:
    if task == 3:
        raise ImageError("three is broken")
    return task * task, os.getpid()


def make_square() -> Callable[[int], tuple[int, int]]:
    return square


SLOW = """
import sys, time
from pathlib import Path
from glesam.common.files import atomic_path
from glesam.common.interrupts import hear_terminate
from glesam.common.files import sweep
from glesam.common.pool import outcomes

def work(folder):
    with atomic_path(folder) as temporary:
        temporary.write_bytes(b"half")
        time.sleep(300)

if __name__ == "__main__":
    hear_terminate()
    try:
        list(outcomes(work, [Path(sys.argv[1]) / str(n) for n in range(2)], 2))
    except KeyboardInterrupt:
        sys.exit(143)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_run_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    script, out = tmp_path / "slow.py", tmp_path / "out"
    script.write_text(SLOW)
    process = subprocess.Popen([sys.executable, str(script), str(out)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob(".*"))) < 2:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(number)
    assert process.wait(30) == (143 if number == signal.SIGTERM else -9)
    while time.monotonic() < deadline and any(Path(f"/proc/{child}/cmdline").exists() for child in children):
        time.sleep(0.05)
    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children)
    assert len(sweep(out)) == (0 if number == signal.SIGTERM else 2)
    assert list(out.iterdir()) == []


def make_nothing() -> Callable[[int], int]:
    raise ImageError("no model")


def make_dying() -> Callable[[int], int]:
    return os._exit


@pytest.mark.parametrize("workers", [1, 2])
def test_all_tasks_are_done_and_a_broken_one_stops_none(workers: int) -> None:
    found = dict(run(make_square, range(10), workers))
    assert sorted(found) == list(range(10))
    assert isinstance(found.pop(3), ImageError)
    assert {task: value[0] for task, value in found.items()} == {n: n * n for n in found}  # type: ignore[index]
    processes = {value[1] for value in found.values()}  # type: ignore[index]
    assert (os.getpid() in processes) == (workers == 1)


def test_failures_of_workers_end_the_run() -> None:
    with pytest.raises(ImageError, match="no model"):
        list(run(make_nothing, [1, 2], 2))
    with pytest.raises(GlesamError, match="fewer workers"):
        list(run(make_dying, [1, 2], 2))
    with pytest.raises(ConfigError, match="at least 1 worker"):
        list(run(make_square, [1], 0))
