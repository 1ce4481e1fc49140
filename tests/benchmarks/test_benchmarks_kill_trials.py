"""Each verb that writes is killed at random moments, or fills its disk; the next run ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trial_folders import content, timeless

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_trials.py"


def records(tmp_path: Path, *arguments: str) -> list[dict[str, object]]:
    journal = tmp_path / "trials.jsonl"
    done = subprocess.run([sys.executable, SCRIPT, "--journal", journal, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_runs_end_as_undisturbed_ones(tmp_path: Path) -> None:
    found = records(tmp_path, "--trials", "3")
    assert len({record["verb"] for record in found}) == 9
    assert [record for record in found if record["status"] or record["unequal"]] == []
    assert any(record["killed"] for record in found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounts a small disk")
def test_full_disks_are_one_line_and_room_mends_them(tmp_path: Path) -> None:
    assert [record for record in records(tmp_path, "--disk") if not record["good"]] == []


def test_clocks_alone_make_no_difference(tmp_path: Path) -> None:
    texts = {
        "a.csv": ("name,seconds\nx,1.5\n", "name,seconds\nx,2.5\n", "name,seconds\ny,1.5\n"),
        "a.json": ('{"a": [{"seconds": 1, "b": 2}]}', '{"a": [{"seconds": 3, "b": 2}]}', '{"a": [{"seconds": 1}]}'),
        "a.md": ("| a | x ms |\n| 1 | 2 |\n", "| a | x ms |\n| 1 | 9 |\n", "| a | x ms |\n| 3 | 2 |\n"),
        ".hidden": ("1", "1", "2"),
    }
    for name, versions in texts.items():
        found = []
        for version in versions:
            (tmp_path / name).write_text(version)
            found.append(timeless(tmp_path / name))
        assert found[0] == found[1] != found[2]
    assert sorted(content(tmp_path)) == sorted(texts)
