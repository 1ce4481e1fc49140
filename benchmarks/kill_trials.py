"""Kill a command at random moments, run it again, and compare its folder with that of an undisturbed run.

`python benchmarks/kill_trials.py --trials 25` prints one line for each verb: trials, how many came out equal, and the
first differences. With `--journal FILE` a run that was stopped goes on where it was. `--disk` lets each verb write to
a disk of a few kilobytes instead (a tmpfs: Linux, as root), at five sizes: status 1, one line of error that is not a
traceback, nothing half-written, and after room was made the results of an undisturbed run are right.

The commands are forked from this process once it has imported what they import, so that kills meet the work and not
the start of Python.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trial_folders import content, make_inputs

DISK_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)

VERBS: dict[str, Callable[[Path, Path], list[str]]] = {
    "segment": lambda work, out: [
        *("segment", f"{work}/in/images", "-o", f"{out}", "--box", "15,20,80,65", "--box", "5,5,30,40"),
        *("--json", "--overlay", "--npz", "--polygons", "--cutout", "--labels", "labelme", "--labels", "yolo"),
        *("--model", f"{work}/model"),
    ],
    "segment, data set": lambda work, out: [
        *("segment", f"{work}/in/images", "-o", f"{out}", "--box", "15,20,80,65", "--layout", "dataset"),
        *("--model", f"{work}/model"),
    ],
    "segment, clip": lambda work, out: [
        *("segment", f"{work}/clip.mp4", "-o", f"{out}", "--box", "15,20,60,50", "--json", "--overlay"),
        *("--model", f"{work}/model"),
    ],
    "segment, frames": lambda work, out: [
        *("segment", f"{work}/clip.mp4", "-o", f"{out}", "--box", "15,20,60,50", "--model", f"{work}/model"),
    ],
    "degrade": lambda work, out: [
        *("degrade", f"{work}/in/images", "-o", f"{out}", "--level", "2,3", "--record", "--workers", "1"),
        *("--contact-sheet", f"{out}/sheet.png"),
    ],
    "data build": lambda work, out: ["data", "build", f"{work}/in", "-o", f"{out}", "--workers", "1"],
    "data check": lambda work, out: ["data", "check", f"{work}/in", "--contact-sheet", f"{out}/sheet.png"],
    "evaluate": lambda work, out: [
        *("evaluate", "--data", f"{work}/in", "--levels", "clear,lq1", "--prompts", "box", "--out", f"{out}"),
        *("--models", f"{work}/model", "--limit", "3"),
    ],
    "train": lambda work, out: [
        *("train", "restorer", "--config", f"{work}/train.json", "--data", f"{work}/in", "--val", f"{work}/in"),
        *("--out", f"{out}/run", "--cache", f"{out}/cache", "--resume"),
    ],
}
"""Verb to its arguments, from the folder of inputs and the folder of results."""


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        status: its exit status; negative, a signal's number, where it was killed.
        errors: what it wrote to standard error.
        seconds: how long it took.
    """

    status: int
    errors: str
    seconds: float


def main() -> None:
    """Read the arguments and try the verbs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS))
    parser.add_argument("--journal", type=Path, help="file of JSON lines that keeps what is done")
    parser.add_argument("--disk", action="store_true", help="full disks instead of kills")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # disks and folders go away then too
    with tempfile.TemporaryDirectory(prefix="glesam-trials-") as name:
        work = Path(name)
        make_inputs(work)
        for verb in arguments.verbs:
            if arguments.disk:
                full_disks(verb, work, arguments.journal)
            else:
                trials(verb, work, arguments.trials, arguments.seed, arguments.journal)


def start(arguments: list[str], errors: Path, imported: Path | None = None) -> int:
    """Fork a process that runs a command.

    Args:
        arguments: of the command.
        errors: file that gets standard error.
        imported: file that gets the names of the modules that the command imported, one a line.

    Returns:
        Number of the process.
    """
    if process := os.fork():
        return process
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        kept = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream, place in enumerate((nowhere, nowhere, kept)):
            os.dup2(place, stream)
        sys.argv = ["glesam", *arguments]
        status = _run()
        if imported is not None:
            imported.write_text("\n".join(sys.modules))
    finally:
        sys.stderr.flush()
        os._exit(status)


def _run() -> int:
    """Run the command of `sys.argv` in this process; gives its status."""
    from glesam.cli import main as glesam

    try:
        glesam()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def finish(process: int, errors: Path, limit: float | None = None) -> Ended:
    """Wait for a command, and kill it with SIGKILL after `limit` seconds."""
    began, killed = time.monotonic(), False
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        if limit is not None and not killed and time.monotonic() - began >= limit:
            os.kill(process, signal.SIGKILL)
            killed = True
        time.sleep(0.002)
    told = errors.read_text(errors="replace") if errors.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), told.strip(), time.monotonic() - began)


def undisturbed(verb: str, work: Path) -> tuple[dict[str, str], float]:
    """What a verb's folder holds after a run, and the seconds that one takes once all is imported.

    Raises:
        SystemExit: two runs differ, or one failed.
    """
    found: list[dict[str, str]] = []
    for _ in range(2):
        out, errors, imported = work / "out" / "whole", work / "errors", work / "imported"
        ended = finish(start(VERBS[verb](work, out), errors, imported), errors)
        if ended.status:
            raise SystemExit(f"{verb}: the undisturbed run ended with {ended.status}: {ended.errors}")
        found.append(content(out))
        shutil.rmtree(out)
        for module in imported.read_text().split("\n"):
            with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module(module)
    if differing := unequal(*found):
        raise SystemExit(f"{verb}: two undisturbed runs differ in {differing[:5]}")
    return found[0], ended.seconds


def unequal(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names of the files in which two folders differ."""
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))


def trials(verb: str, work: Path, count: int, seed: int, journal: Path | None) -> None:
    """Kill a verb at random moments and print how the folders compare."""
    mine = [record for record in _noted(journal) if record["verb"] == verb and record.get("seed") == seed]
    known = {record["trial"]: record for record in mine}
    if todo := [number for number in range(count) if number not in known]:
        expected, taken = undisturbed(verb, work)
        for number in todo:
            moment = taken * random.Random(f"{seed}/{verb}/{number}").random()
            known[number] = {"verb": verb, "seed": seed, "trial": number, **_trial(verb, work, moment, expected)}
            _note(journal, known[number])
    records = [known[number] for number in range(count)]
    wrong = [record for record in records if record["status"] or record["unequal"]]
    killed = sum(record["killed"] for record in records)
    print(f"{verb}: {count - len(wrong)} of {count} equal, {killed} met the run", flush=True)
    for record in wrong[:3]:
        print(f"    after {record['moment']:.3f} s: status {record['status']}, {record['unequal']} {record['errors']}")


def _noted(journal: Path | None) -> list[dict[str, Any]]:
    """Trials of earlier runs."""
    if journal is None or not journal.is_file():
        return []
    return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]


def _note(journal: Path | None, record: dict[str, object]) -> None:
    """Keep a trial for a later run."""
    if journal is not None:
        with journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def _trial(verb: str, work: Path, moment: float, expected: dict[str, str]) -> dict[str, object]:
    """Kill one run after so many seconds, run it again, and say what came of it."""
    out, errors = work / "out" / "whole", work / "errors"
    first = finish(start(VERBS[verb](work, out), errors), errors, moment)
    again = finish(start(VERBS[verb](work, out), errors), errors)
    wrong = unequal(expected, content(out))
    shutil.rmtree(out, ignore_errors=True)
    return {
        "moment": moment,
        "killed": first.status == -signal.SIGKILL,
        "status": again.status,
        "unequal": wrong[:5],
        "errors": again.errors[-300:] if again.status or wrong else "",
    }


def full_disks(verb: str, work: Path, journal: Path | None) -> None:
    """Let a verb write to disks that hold a share of its results, and print what comes of it."""
    known = {record["share"]: record for record in _noted(journal) if record["verb"] == verb and "share" in record}
    if todo := [share for share in DISK_SHARES if share not in known]:
        expected, _ = undisturbed(verb, work)
        size = _size(verb, work)
        for share in todo:
            known[share] = {"verb": verb, "share": share, **_full_disk(verb, work, int(size * share), expected)}
            _note(journal, known[share])
    for share in DISK_SHARES:
        record = known[share]
        rest = {key: value for key, value in record.items() if key not in ("verb", "share", "good") and value}
        print(f"{verb}, {share:.0%} of what it writes: {'good' if record['good'] else 'WRONG'} {rest}", flush=True)


def _size(verb: str, work: Path) -> int:
    """Bytes that a verb's results take."""
    out, errors = work / "out" / "whole", work / "errors"
    finish(start(VERBS[verb](work, out), errors), errors)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return size


def _full_disk(verb: str, work: Path, size: int, expected: dict[str, str]) -> dict[str, object]:
    """Run a verb on a disk of `size` bytes, make room, run it again, and say what came of both."""
    out, errors = work / "out" / "whole", work / "errors"
    with small_disk(out.parent, size):
        full = finish(start(VERBS[verb](work, out), errors), errors)
        left = sorted(path.name for path in out.rglob(".*.glesam-*"))
        foreign = sorted(set(content(out)) - set(expected))
        subprocess.run(["mount", "-o", "remount,size=1g", out.parent], check=True)
        again = finish(start(VERBS[verb](work, out), errors), errors)
        wrong = unequal(expected, content(out))
    said = full.errors.splitlines()
    good = full.status == 1 and "Traceback" not in full.errors and not (left or again.status or wrong)
    return {
        "good": good,
        "status": full.status,
        "lines": len(said),
        "last": said[-1][:160] if said else "",
        "left": left[:3],
        "foreign": foreign[:3],
        "unequal": wrong[:3],
        "again": again.errors[-300:] if again.status else "",
    }


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes, rounded to whole pages and no less than four, at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(16, size // 1024)}k", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


if __name__ == "__main__":
    main()
