"""One folder shared by several jobs, as `torchrun` and `accelerate launch` start them: who does what, and who sums up.

The jobs meet through small files beside the results (`<out>/.results/`), so that nothing but the shared folder is
needed, and a killed job is noticed: a job that lives touches its file every few seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from glesam.common.documents import parse_json
from glesam.common.files import write_text
from glesam.errors import ConfigError, DataError
from glesam.folders.parts import PARTS

T = TypeVar("T")

HEARTBEAT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long rank 0 waits for a job that gives no sign: the start of one loads a model before its first sign."""


@dataclass(frozen=True)
class Place:
    """Which of several jobs this is.

    Attributes:
        rank: from 0 to `world - 1`.
        world: number of jobs.
        local_rank: number of this job on its machine, and so of its GPU.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every `world`-th item, from `rank` on: the shares of all jobs are disjoint and cover everything."""
        return list(items[self.rank :: self.world])


def from_environment(environment: Mapping[str, str] | None = None) -> Place:
    """Read `RANK`, `WORLD_SIZE` and `LOCAL_RANK`, which `torchrun` and `accelerate launch` set.

    Raises:
        ConfigError: they hold no numbers, or a rank that is not below the world's size.
    """
    values = os.environ if environment is None else environment
    if "RANK" not in values or "WORLD_SIZE" not in values:
        return Place()
    texts = [values["RANK"], values["WORLD_SIZE"], values.get("LOCAL_RANK", "0")]
    try:
        place = Place(*map(int, texts))
    except ValueError:
        place = Place(-1)
    if not 0 <= place.rank < place.world or place.local_rank < 0:
        raise ConfigError(
            f"expected RANK below WORLD_SIZE in the environment, got {texts[0]} and {texts[1]}; start with torchrun, "
            "or unset both"
        )
    return place


class Meeting:
    """How the jobs on one folder learn of each other's end.

    Args:
        folder: folder of the results, which all jobs see.
        place: which job this is.
        files: all images of all jobs: marks of an earlier run on other images do not count.
        patience: seconds without a sign after which rank 0 stops waiting for a job.
    """

    def __init__(self, folder: Path, place: Place, files: Sequence[str], patience: float = PATIENCE_SECONDS) -> None:
        self._folder, self._place, self._patience = folder / PARTS, place, patience
        text = "\n".join([str(place.world), *files])
        self._digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    @contextmanager
    def attend(self, failed: Mapping[str, str]) -> Iterator[None]:
        """Show life while the block runs, and mark this job's end when it ends well.

        Args:
            failed: name to reason of the images that failed in the block, for `failed_elsewhere`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._done(self._place.rank).unlink(missing_ok=True)
        stop = threading.Event()
        beat = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        beat.start()
        try:
            yield
            write_text(self._done(self._place.rank), json.dumps({"run": self._digest, "failed": dict(failed)}))
        finally:
            stop.set()
            beat.join()

    def wait_for_others(self) -> list[int]:
        """Wait until every other job has ended or given no sign for too long.

        Returns:
            Ranks that did not end, sorted.
        """
        seen: dict[int, tuple[int, float]] = {}
        absent = [rank for rank in range(self._place.world) if rank != self._place.rank]
        while True:
            absent = [rank for rank in absent if self._mark(rank) is None]
            silent = [rank for rank in absent if self._is_silent(rank, seen)]
            if len(silent) == len(absent):
                return absent
            time.sleep(min(0.2, self._patience / 5))

    def failed_elsewhere(self) -> dict[str, str]:
        """Name to reason of the images that failed in the other jobs that have ended."""
        others = [self._mark(rank) or {} for rank in range(self._place.world) if rank != self._place.rank]
        return {name: reason for failed in others for name, reason in failed.items()}

    def _mark(self, rank: int) -> dict[str, str] | None:
        """What failed in a job that has ended; None where its mark is not there, or means another run."""
        path = self._done(rank)
        try:
            mark = parse_json(path.read_bytes(), str(path))
        except (OSError, DataError):
            return None
        return dict(mark["failed"]) if isinstance(mark, dict) and mark.get("run") == self._digest else None

    def _is_silent(self, rank: int, seen: dict[int, tuple[int, float]]) -> bool:
        """Whether a job's heartbeat has stood still for the time of patience, by this machine's clock alone."""
        try:
            beat = self._alive(rank).stat().st_mtime_ns
        except OSError:
            beat = 0
        now = time.monotonic()
        if rank not in seen or seen[rank][0] != beat:
            seen[rank] = (beat, now)
        return now - seen[rank][1] >= self._patience

    def _beat(self, stop: threading.Event) -> None:
        """Touch this job's file until told to stop."""
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._alive(self._place.rank).touch()
            if stop.wait(min(HEARTBEAT_SECONDS, self._patience / 5)):
                return

    def _done(self, rank: int) -> Path:
        return self._folder / f"{rank}.done"

    def _alive(self, rank: int) -> Path:
        return self._folder / f"{rank}.alive"
