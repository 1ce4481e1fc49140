"""Work shared by several processes: the same results as in one, a killed worker named, disks that are full."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest

from glesam.common.pool import cores, outcomes, writing
from glesam.errors import DataError


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
