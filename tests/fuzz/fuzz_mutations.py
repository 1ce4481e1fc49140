"""Ways to spoil a file: bytes changed, cut, doubled; in JSON, one value for a hostile one."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(10**30), 1e308, 0.5, float("nan"), float("inf")),
    *("", "x", "../../etc/passwd", "\x1b]0;x\x07", "\udcff", "x" * 5000, [], {}, [[]], [None], {"": {}}, [1e9] * 3),
)
_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\1\0\0", b"\xff\xff", b"\0")


def spoil_bytes(content: bytes, random: Random) -> bytes:
    """One to four changes of bytes."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place, other = sorted((random.randrange(len(data) + 1), random.randrange(len(data) + 1)))
        kind = random.randrange(7)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            del data[place : place + random.randint(1, 16)]
        elif kind == 2:
            data[place:place] = data[place : min(other, place + 64)]
        elif kind == 3:
            number = random.choice(_NUMBERS)
            data[place : place + len(number)] = number
        elif kind == 4:
            data[place:place] = random.randbytes(random.randint(1, 8))
        else:  # near the start, where sizes and kinds stand
            data[(at := min(place, random.randrange(64))) : at + 1] = random.randbytes(1)
    return bytes(data)


def spoil_json(content: bytes, random: Random) -> bytes:
    """One to three values, keys or items of a JSON document changed; now and then its text."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # spoiled before
        return spoil_bytes(content, random)
    if random.random() < 0.15:
        return spoil_bytes(content, random)
    for _ in range(random.randint(1, 3)):
        value = _spoiled(value, random)
    if random.random() < 0.05:
        return b"[" * 3000 + json.dumps(value).encode() + b"]" * 3000
    text = json.dumps(value)
    return ("\ufeff" + text).encode() if random.random() < 0.1 else text.encode()


def _spoiled(value: Any, random: Random) -> Any:
    """The value with one of its parts changed."""
    if not value or not isinstance(value, (dict, list)) or random.random() < 0.1:
        return copy.deepcopy(random.choice(HOSTILE))
    key = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
    found: Any = dict(value) if isinstance(value, dict) else list(value)
    kind = random.random()
    if kind < 0.1:
        del found[key]
    elif kind < 0.2 and isinstance(found, list):
        found += [found[key]] * random.choice((1, 20))
    elif kind < 0.25 and isinstance(found, dict):
        found["unknown"] = found[key]
    else:
        found[key] = _spoiled(found[key], random)
    return found


def spoil_lines(content: bytes, random: Random) -> bytes:
    """JSON lines with one line changed, or left out, or its bytes changed."""
    lines = content.splitlines(keepends=True) or [b"{}"]
    place = random.randrange(len(lines))
    kind = random.random()
    if kind < 0.2:
        del lines[place]
    elif kind < 0.4:
        return spoil_bytes(content, random)
    else:
        lines[place] = spoil_json(lines[place], random).replace(b"\n", b" ") + b"\n"
    return b"".join(lines)
