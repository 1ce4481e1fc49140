"""Jobs that share a folder, and meet on it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from glesam.errors import ConfigError
from glesam.folders.parts import PARTS
from glesam.folders.ranks import Meeting, Place, from_environment


def test_shares_are_disjoint_and_cover_everything() -> None:
    items = list(range(11))
    shares = [Place(rank, 3).share(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_environment_of_torchrun() -> None:
    assert from_environment({}) == Place(0, 1)
    assert from_environment({"RANK": "0"}) == Place(0, 1)
    assert from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Place(3, 4, 1)
    for rank, world in (("4", "4"), ("-1", "2"), ("x", "2"), ("0", "0")):
        with pytest.raises(ConfigError, match="torchrun"):
            from_environment({"RANK": rank, "WORLD_SIZE": world})


def test_the_first_job_waits_for_a_slow_one(tmp_path: Path) -> None:
    def slow() -> None:
        with Meeting(tmp_path, Place(1, 2), ["a"], patience=2.0).attend({}):
            time.sleep(3.0)  # longer than the patience: only its sign of life keeps it

    other = threading.Thread(target=slow)
    other.start()
    first = Meeting(tmp_path, Place(0, 2), ["a"], patience=2.0)
    with first.attend({}):
        pass
    start = time.monotonic()
    assert first.wait_for_others() == []
    assert time.monotonic() - start > 0.5
    other.join()


def test_what_failed_in_other_jobs_of_this_run_is_told(tmp_path: Path) -> None:
    failed: dict[str, str] = {}
    with Meeting(tmp_path, Place(1, 4), ["a"]).attend(failed):
        failed["b\udcff.jpg"] = "expected an image, got \u00e4"
    with Meeting(tmp_path, Place(2, 4), ["a"]).attend({}):
        pass
    with Meeting(tmp_path, Place(3, 4), ["of another run"]).attend({"c.jpg": "no image"}):
        pass
    first = Meeting(tmp_path, Place(0, 4), ["a"], patience=0.1)
    with first.attend({"own.jpg": "no image"}):
        pass
    assert first.wait_for_others() == [3]
    assert first.failed_elsewhere() == {"b\udcff.jpg": "expected an image, got \u00e4"}


def test_a_dead_job_and_a_mark_of_another_run_do_not_count(tmp_path: Path) -> None:
    with Meeting(tmp_path, Place(1, 3), ["a", "b"]).attend({}):
        pass
    (tmp_path / PARTS / "2.alive").touch()  # killed after its first sign
    first = Meeting(tmp_path, Place(0, 3), ["a"], patience=0.3)
    with first.attend({}):
        pass
    assert first.wait_for_others() == [1, 2]
