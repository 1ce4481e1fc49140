"""Parts of messages, and names that fit a terminal and a file system."""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Iterable

from glesam.common.reasons import in_words
from glesam.common.seeds import stable_seed
from glesam.errors import ConfigError

CHOOSE = "choose one of those"
"""Cure where the message lists all known names already and none is near."""


def hint(word: object, known: Iterable[str], otherwise: str | None = None, count: int = 1) -> str:
    """Cure for an unknown name: the nearest known one, or one that holds it, whatever the case, and with `-` for `_`.

    Args:
        word: what came.
        known: what could have come.
        otherwise: what to say when none is near; None lists all that is known.
        count: how many near names to give at most.
    """
    names = {_plain(name): name for name in known}
    plain = _plain(str(word))
    near = difflib.get_close_matches(plain, names, n=count, cutoff=0.5)
    near = near or [name for name in names if plain and plain in name][:count]
    if near:
        return f"did you mean {' or '.join(repr(names[name]) for name in near)}?"
    return f"known are {', '.join(names.values())}" if otherwise is None else otherwise


def one_of(what: str, word: str, known: Iterable[str]) -> str:
    """The word, once it is known.

    Args:
        what: what it names, such as "a quality".
        word: what came.
        known: what could have come.

    Raises:
        ConfigError: the word is not among the known ones.
    """
    names = list(known)
    if word not in names:
        cure = hint(word, names, "name one of these")
        raise ConfigError(f"expected {what} of {', '.join(names)}, got {word!r}; {cure}")
    return word


def speak_warnings() -> None:
    """Let our warnings be printed as one line from now on, without the place in the code that Python adds."""
    plain = warnings.formatwarning

    def spoken(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category.__module__.startswith("glesam."):
            return f"glesam: warning: {shown(' '.join(str(message).split()))}\n"
        return plain(message, category, filename, lineno, line)

    warnings.formatwarning = spoken


def one_line(fault: object) -> str:
    """The text of a foreign error on one line, with nothing that a terminal would act on.

    What Python says of its own objects (`'NoneType' object has no attribute 'items'`, a bare key) is put into words of
    what was read.
    """
    text = in_words(fault) if isinstance(fault, Exception) else str(fault)
    return shown(" ".join(text.split()) or "no reason is given")


def shown(name: object) -> str:
    r"""A name as people may see it: what a terminal would act on, and bytes that are no UTF-8, come as `\x1b`.

    File names may hold any byte but zero and the slash; printed raw, an escape sequence in one moves the cursor or
    sets the window's title.
    """
    text = os.fspath(name) if isinstance(name, os.PathLike) else str(name)
    return "".join(_visible(sign) for sign in text)


def _visible(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # Python's stand-in for a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")


def slug(name: str) -> str:
    """File name for any name; names that would collide after replacing characters get a digest of the original."""
    plain = re.sub(r"[^A-Za-z0-9._=@+-]", "-", name).lstrip(".") or "unnamed"
    return plain[:80] if plain == name and len(name) <= 80 else f"{plain[:80]}-{stable_seed(name) % 16**6:06x}"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
