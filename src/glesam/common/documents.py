"""One decoder for JSON and one check for what it holds: any bad input becomes one of our errors, on one line."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from glesam.common.messages import hint, one_line, shown
from glesam.errors import DataError, GlesamError

AnyRecord = TypeVar("AnyRecord")
PydanticModel = TypeVar("PydanticModel", bound=BaseModel)


def parse_json(content: bytes | str, where: str, error: type[GlesamError] = DataError, unique: bool = False) -> Any:
    """Decode JSON.

    UTF-8, with or without a byte order mark, UTF-16 and UTF-32 are told apart as RFC 8259's predecessors do. What the
    standard does not know is refused: NaN, Infinity, numbers beyond a double, lone surrogates in the encoding.

    Args:
        content: the encoded or decoded text.
        where: what messages call it: a path, or `the request`.
        error: type of the error that is raised.
        unique: refuse a key that comes twice in one object; else the last one counts, as usual.

    Raises:
        GlesamError: of the type given: it is no JSON, or nested deeper than Python follows.
    """
    try:
        text = content.decode(json.detect_encoding(content)) if isinstance(content, bytes) else content
        return json.loads(
            text.removeprefix("\ufeff"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique if unique else None,
        )
    except RecursionError:
        raise error(f"expected JSON in {where}, got one nested too deeply; write it flatter") from None
    except (ValueError, MemoryError) as fault:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise error(f"expected JSON in {where}, it cannot be parsed ({one_line(fault)}); correct it there") from fault


def read_json(
    path: str | os.PathLike[str], error: type[GlesamError] = DataError, unique: bool = False, what: str = "a JSON file"
) -> Any:
    """Read and decode a JSON file; see `parse_json`.

    Args:
        path: the file.
        error: type of the error that is raised.
        unique: see `parse_json`.
        what: the file in words, for the message when it cannot be read.

    Raises:
        GlesamError: of the type given: the file cannot be read, or as `parse_json`.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a path with a zero byte
        reason = getattr(fault, "strerror", None) or fault
        raise error(f"expected {what} in {shown(path)}, cannot read it ({reason}); check the path") from fault
    return parse_json(content, shown(path), error, unique)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text that UTF-8 can hold: readable, but with escapes where a file's name is not UTF-8 (PEP 383).

    Raises:
        ValueError: it holds a number that JSON has not, such as NaN.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=False)
    return text


CURE = "correct it there"


def expect_object(value: Any, where: str, error: type[Exception] = DataError, cure: str = CURE) -> dict[str, Any]:
    """Give a decoded JSON object.

    Raises:
        GlesamError: of the type given: the value is something else.
    """
    if not isinstance(value, dict):
        raise error(f"expected a JSON object in {where}, got {kind_of(value)}; {cure}")
    return value


def expect_objects(value: Any, where: str, error: type[Exception] = DataError) -> list[dict[str, Any]]:
    """Give a decoded JSON list of objects.

    Raises:
        GlesamError: of the type given: the value, or an item, is something else.
    """
    if not isinstance(value, list):
        raise error(f"expected a list in {where}, got {kind_of(value)}; correct it there")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise error(f"expected objects in {where}, item {index} is {kind_of(item)}; correct it there")
    return value


def checked(kind: type[AnyRecord], values: Any, where: str, error: type[GlesamError], cure: str = CURE) -> AnyRecord:
    """Values of a stored or given configuration as its pydantic model, or of a record as its dataclass.

    Args:
        kind: the model or the dataclass.
        values: decoded JSON, or arguments by name.
        where: what messages call it.
        error: type of the error that is raised.
        cure: what to do about a value that does not fit.

    Raises:
        GlesamError: of the type given: no object, an unknown key (the nearest is named), or a value that does not fit.
    """
    plain: Any = kind  # of which of the two kinds, no type says
    of_model = issubclass(plain, BaseModel)
    known = list(plain.model_fields) if of_model else [field.name for field in dataclasses.fields(plain)]
    try:
        given = expect_object(values, where, error, cure)
        if not of_model and (strange := sorted(set(given) - set(known))):
            raise error(_unknown(strange[0], where, known))
        found: AnyRecord = _validator(plain).validate_python(given)
    except ValidationError as fault:
        raise error(complaint(fault, where, known, cure)) from None
    except RecursionError:
        raise error(f"expected settings in {where}, got ones nested too deeply; write them flatter") from None
    return found


@functools.cache
def _validator(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def complaint(fault: ValidationError, where: str, known: Sequence[str] = (), cure: str = CURE) -> str:
    """The first of pydantic's complaints as one line with the cure.

    Args:
        fault: what pydantic raised.
        where: what holds the values.
        known: keys that there are, for the nearest name.
        cure: what to do about a value that does not fit.
    """
    first = fault.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole"
    if first["type"] == "extra_forbidden":
        return _unknown(key, where, known)
    if first["type"] in ("missing", "missing_argument"):
        return f"expected {key} in {where}, found none; {cure}"
    return f"expected a valid {key} in {where}, got {brief_value(first['input'])} ({one_line(first['msg'])}); {cure}"


def _unknown(key: str, where: str, known: Sequence[str]) -> str:
    cure = hint(key.rsplit(".", 1)[-1], sorted(known), None if known else "leave it out")
    return f"expected a known key in {where}, got {brief_value(key)}; {cure}"


def kind_of(value: Any) -> str:
    """The JSON type of a decoded value, in words."""
    if isinstance(value, bool) or value is None:
        return "nothing" if value is None else "true or false"
    if isinstance(value, Mapping):
        return "an object"
    return {str: "a text", int: "a number", float: "a number", list: "a list"}.get(type(value), type(value).__name__)


def brief_value(value: Any) -> str:
    """A value as short text on one line."""
    text = one_line(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return found
