"""Spoiled files of every kind: each reader answers, or raises one of our errors on one line; nothing hangs.

In the suite each reader meets the same few dozen files. `make fuzz` draws new ones, `GLESAM_FUZZ` times as many, and
compares the peak of memory with 3 GiB.
"""

from __future__ import annotations

import os
import re
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import fuzz_targets
import pytest
from fuzz_targets import Target
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glesam.errors import GlesamError

MANY = int(os.environ.get("GLESAM_FUZZ", "0"))
OF_PYTHON = re.compile(
    r"NoneType|has no attribute|not subscriptable|not iterable|unexpected keyword|required positional|indices must be|"
    r"unhashable|invalid literal|could not convert|to unpack|(Key|Type|Attribute|Value|Index)Error|<class|object at 0x"
)
"""What a message does not hold: texts that tell of Python's objects and not of the file."""
HANG_SECONDS = 20.0
PEAK_BYTES = 3 << 30

PLAIN = (
    fuzz_targets.images,
    fuzz_targets.masks,
    fuzz_targets.prompts,
    fuzz_targets.training_configs,
    fuzz_targets.annotations,
    fuzz_targets.journals,
    fuzz_targets.results,
    fuzz_targets.checkpoints,
)
WITH_FOLDER = (
    fuzz_targets.clips,
    fuzz_targets.manifests,
    fuzz_targets.saved_models,
    fuzz_targets.saved_parts,
    fuzz_targets.caches,
)


@pytest.mark.parametrize("make", PLAIN, ids=lambda make: make.__name__)
def test_spoiled_files_cost_one_line(make: Callable[[], Target]) -> None:
    attack(make())


@pytest.mark.parametrize("make", WITH_FOLDER, ids=lambda make: make.__name__)
def test_spoiled_files_beside_others_cost_one_line(make: Callable[[Path], Target], tmp_path: Path) -> None:
    attack(make(tmp_path))


def attack(target: Target) -> None:
    """Spoil the target's files and read them."""
    for name, content in target.seeds.items():
        attempt(target, name, content)

    @settings(
        max_examples=target.examples * max(1, MANY),
        derandomize=not MANY,
        phases=(Phase.generate,),  # a spoiled file is as small as it gets
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(target.seeds)), st.integers(0, 2**48))
    def spoiled(name: str, seed: int) -> None:
        random = Random(seed)
        content = target.seeds[name]
        for _ in range(random.choice((1, 1, 2))):
            content = target.spoil(content, random)
            attempt(target, name, content)

    spoiled()
    if MANY:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 <= PEAK_BYTES


def attempt(target: Target, name: str, content: bytes) -> None:
    """Read one file in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(content)
        start = time.process_time()  # a busy machine is no hang; what waits for ever meets the test's timeout
        told = ""
        try:
            target.read(path)
        except GlesamError as error:
            told = str(error)
        assert "\n" not in told
        assert OF_PYTHON.search(told) is None, told
        assert time.process_time() - start < HANG_SECONDS
