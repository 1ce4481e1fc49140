"""Small helpers around names: nearest known name, stable seeds from names, and names that fit a file system."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable

import numpy as np


def hint(word: str, known: Iterable[str]) -> str:
    """Cure for an unknown name: the nearest known ones, or all of them when none is near."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"


def stable_seed(*parts: object) -> int:
    """Seed in `[0, 2**63)` from names and numbers: the same on every machine, whatever the order of files.

    The first 63 bits of the SHA-256 of the parts, each as text, joined by a byte that no file name holds.
    """
    text = "\0".join(str(part) for part in parts)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """Random generator that depends on the given names and numbers only."""
    return np.random.default_rng(stable_seed(*parts))


def slug(name: str) -> str:
    """File name for any name; names that would collide after replacing characters get a digest of the original."""
    plain = re.sub(r"[^A-Za-z0-9._=@+-]", "-", name).lstrip(".") or "unnamed"
    return plain[:80] if plain == name and len(name) <= 80 else f"{plain[:80]}-{stable_seed(name) % 16**6:06x}"
