"""Settings as pydantic models: checked in one line, and described by the docstrings of their classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from glesam.common.documents import PydanticModel, expect_object, read_json
from glesam.common.messages import hint, shown
from glesam.errors import ConfigError

_FIELD = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
"""An entry of the section `Attributes` of a docstring: a name, and its text with its further lines."""


def validated(kind: type[PydanticModel], values: Mapping[str, Any], what: str) -> PydanticModel:
    """Make settings from keys and values.

    Args:
        kind: its model; it should forbid unknown keys.
        values: keys and values.
        what: what one of the settings is called, such as "training option".

    Raises:
        ConfigError: a key is unknown (the nearest one is named) or missing, or a value does not fit.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(_one_line(kind, error, what)) from error


def read_values(path: str | Path | None, what: str) -> dict[str, Any]:
    """Keys and values of a JSON file, none where there is no file.

    Args:
        path: the file, or None.
        what: as for `validated`.

    Raises:
        ConfigError: the file is missing or no JSON object.
    """
    if path is None:
        return {}
    return expect_object(read_json(path, ConfigError, what=f"a JSON file of {what}s"), shown(path), ConfigError)


def read_settings(
    kind: type[PydanticModel], path: str | Path | None, given: Mapping[str, Any], what: str
) -> PydanticModel:
    """Make settings from a JSON file, if there is one, with the given values over it.

    Args:
        kind: as for `validated`.
        path: JSON file of keys and values, or None.
        given: further values, which win.
        what: as for `validated`.

    Raises:
        ConfigError: the file is missing or no JSON object; and as `validated`.
    """
    return validated(kind, {**read_values(path, what), **given}, what)


def keys_of(kind: type[BaseModel]) -> dict[str, str]:
    """The key of each field in files and arguments, by the field's name: its alias, or the name itself."""
    return {name: field.alias or name for name, field in kind.model_fields.items()}


def descriptions(kind: type[BaseModel]) -> dict[str, str]:
    """Text of each setting from the docstrings of its class and of those that it extends; none under `python -OO`."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        _, _, attributes = (inspect.cleandoc(base.__doc__ or "")).partition("Attributes:\n")
        for name, text in _FIELD.findall(re.split(r"\n(?=\S)", attributes)[0]):
            found[name] = " ".join(text.split())
    return found


def _one_line(kind: type[BaseModel], error: ValidationError, what: str) -> str:
    """Rewrite the first of pydantic's complaints as one line; a misspelt key comes before a missing one."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"expected a known {what}, got {key!r}; {hint(key, keys_of(kind).values())}"
    if not key:
        return f"expected {what}s that fit together, got: {first['msg'].removeprefix('Value error, ')}"
    if first["type"] == "missing":
        return f"expected a value for {what} {key!r}, got none; it has no default, so give one"
    field = kind.model_fields.get(key)
    default = None if field is None else field.get_default(call_default_factory=True)
    cure = "" if default is None else f"; the default is {default}"
    return f"expected a valid value for {what} {key!r}, got {first['input']!r}: {first['msg']}{cure}"
