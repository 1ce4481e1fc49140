"""Why something could not be read, in words of what was read and not of Python's objects."""

from __future__ import annotations

import re

_TOLD: tuple[tuple[str, str], ...] = (
    (r"got an unexpected keyword argument (\S+)$", r"an unknown key \1"),
    (r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)$", r"no \1"),
    (r"(?:invalid literal for int\(\) with base 10|could not convert string to float): (.+)$", r"no number but \1"),
    (r"(?:not enough|too many) values to unpack", "a list of another length"),
    (r"a buffer of (?:at least )?\d+ bytes", "an end that comes too soon"),
    (r"enforce fail at inline_container|PytorchStreamWriter", "a write that failed"),
    (r"'(.+)' codec can't decode", r"bytes that are no \1"),
)
"""What Python, or torch, says of a call or a conversion, and what that says of the values; the first that fits."""

_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((IndexError,), "a list that is too short"),
    ((OverflowError, MemoryError), "a number that is too large"),
    ((ZeroDivisionError,), "a size of 0"),
    ((RecursionError,), "values nested too deeply"),
    ((AttributeError, TypeError), "a value of another type"),
)
"""Errors whose text tells of Python's objects, and what each says of the values."""


def in_words(fault: Exception) -> str:
    """The text of an error; for Python's own ones what it says of the values that were read."""
    text = str(fault)
    for pattern, words in _TOLD:
        if (found := re.search(pattern, text)) is not None:
            return found.expand(words)
    if type(fault) is KeyError and fault.args:
        return f"no {str(fault)[:60]}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    # Not subclasses, which libraries write texts for.
    return next((words for kinds, words in _KINDS if type(fault) in kinds), text)
