"""Seeds from names: the same on every machine and Python version, whatever the order of files.

One rule for degradations: "LQ-3, seed 0" of an image is `degradation_seed(name, "lq3", 0)`, where the name is that of
the image in its data set, or its path in the folder that was given, without the suffix. `glesam degrade`, `evaluate`,
`data build` and the server all take it, and degrade by LQSeg's recipe `test` where no other is asked for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command's help is to come at once, and needs names that fit a file system only
    import numpy as np


def stable_seed(*parts: object) -> int:
    """Seed in `[0, 2**63)` from names and numbers.

    The first 63 bits of the SHA-256 of the parts, each as text, joined by a byte that no file name holds.
    """
    text = "\0".join(str(part) for part in parts)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """Random generator that depends on the given names and numbers only."""
    import numpy as np

    return np.random.default_rng(stable_seed(*parts))


def seed_for(name: str, seed: int) -> int:
    """Seed of one file: depends on its name and the run's seed only, never on the order of files.

    Args:
        name: path relative to the folder that was given, with forward slashes.
        seed: the run's seed, any whole number.

    Returns:
        A whole number in `[0, 2**63)`, the first 63 bits of a BLAKE2b digest.
    """
    digest = hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


UNNAMED = "image"
"""Name of an image that has none: from stdin, or sent to the server without one."""


def degradation_seed(name: str, level: str, seed: int) -> int:
    """Seed of the degradation of one image.

    Args:
        name: of the image, with forward slashes and without suffix; `UNNAMED` where it has none.
        level: `lq1` to `lq3`, or `FAMILY:KIND:SEVERITY`, as `glesam.degrade.levels.Level` writes itself.
        seed: the run's seed, any whole number.
    """
    if level.startswith("lq"):
        return seed_for(f"{level}/{name}", seed)
    return stable_seed("degrade", name, level, seed)


def level_seed(name: str, level: int, seed: int) -> int:
    """Seed of the degradation of one image at one level, from the hash of name, level and the set's seed."""
    return degradation_seed(name, f"lq{level}", seed)
