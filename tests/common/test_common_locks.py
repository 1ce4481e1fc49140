"""One run in a folder: the second is told who works there; a killed one leaves nothing that keeps others out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from glesam.common import locks
from glesam.common.files import atomic_path, sweep
from glesam.common.locks import LOCK, sole
from glesam.errors import ConfigError

HOLD = """
import sys, time
from pathlib import Path
from glesam.common.files import atomic_path
from glesam.common.locks import sole
with sole(sys.argv[1]), atomic_path(Path(sys.argv[1]) / "a.png") as temporary:
    temporary.write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_works_there_and_a_killed_one_keeps_nobody_out(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with (
        pytest.raises(ConfigError, match=rf"process {process.pid} on .* since .*; wait for it") as caught,
        sole(tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert sweep(tmp_path) == [], "its writer lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = [path for path in tmp_path.iterdir() if path.name != LOCK]
    with sole(tmp_path), atomic_path(tmp_path / "b.png") as temporary:
        temporary.write_bytes(b"whole")
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


def test_runs_one_after_the_other_and_of_other_names_do_not_meet(tmp_path: Path) -> None:
    for _ in range(2):
        with sole(tmp_path), sole(tmp_path, "other.lock"):
            pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), sole(tmp_path):
        raise RuntimeError
    with sole(tmp_path):
        pass


def test_a_forked_process_does_not_hold_what_its_parent_held(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with sole(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # outlives the block
            os._exit(0)
    with sole(tmp_path):
        pass
    os.close(writing)
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0


def test_only_own_temporary_files_are_swept(tmp_path: Path) -> None:
    for name in (".photo.jpg", ".a.glesam-1.png", "a.glesam-abcdefgh.png", ".a.glesam-abcdefgh.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in sweep(tmp_path)] == [".a.glesam-abcdefgh.png"]
    assert sweep(tmp_path / "nowhere") == []


def test_an_empty_temporary_file_of_just_now_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_NEW_SECONDS", 0.2)
    left, taken = tmp_path / ".a.glesam-abcdefgh.png", tmp_path / ".b.glesam-abcdefgh.png"
    for path in (left, taken):
        path.touch()
    handle = os.open(taken, os.O_RDWR)
    timer = threading.Timer(0.05, locks.lock, [handle])
    timer.start()
    assert sweep(tmp_path) == [left]
    timer.join()
    locks.close(handle)


def test_where_there_are_no_locks_a_warning_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"not noticed here \(No locks available\)"), sole(tmp_path):
        pass
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
