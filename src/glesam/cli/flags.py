"""Flags of a verb made from a settings model: each field is written once, for the command, for files and for Python."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from glesam.common.settings import descriptions

FURTHER = "Further options"
"""Panel of the help for the fields that a model shares with others, and that are seldom changed."""


def field_flags(
    kind: type[BaseModel], common: Collection[str] = (), without: Collection[str] = ()
) -> list[inspect.Parameter]:
    """A flag for each field of a settings model that one word can give; None where it is not given.

    Whole numbers, numbers and texts are themselves, tuples of fixed length are written with commas, texts of any number
    are repeated; other fields, such as tables, have no flag.

    Args:
        kind: the model; its docstrings describe the fields.
        common: inherited fields that the help lists among the model's own.
        without: fields that get no flag.
    """
    texts, hints = descriptions(kind), get_type_hints(kind, include_extras=True)
    flags = []
    for name, field in kind.model_fields.items():
        form = None if name in without else _form(hints[name])
        if form is not None:
            annotation, metavar = form
            panel = None if name in common or name in kind.__annotations__ else FURTHER
            option = typer.Option(
                help=_sentence(texts.get(name, "")),
                metavar=metavar,
                rich_help_panel=panel,
                show_default=_shown(field),
            )
            flags.append(keyword(name, Annotated[annotation | None, option], None))
    return flags


def with_flags(flags: list[inspect.Parameter]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a verb so that it takes flags besides its own; it gets them as the mapping `given`, without unset ones.

    A flag of the verb's own takes the place of one of the same name.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function).parameters
        hints = get_type_hints(function, include_extras=True)
        mine = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own.values() if p.name != "given"]
        further = [flag for flag in flags if flag.name not in own]

        @functools.wraps(function)
        def wrapper(**values: Any) -> None:
            given = {flag.name: value for flag in further if (value := values.pop(flag.name)) not in (None, [])}
            function(given=given, **values)

        return show_signature(wrapper, [*mine, *further])

    return decorate


def show_signature(wrapper: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Give a decorated verb the signature that typer reads its flags from."""
    shown: Any = wrapper
    shown.__signature__ = inspect.Signature(parameters)
    shown.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    del shown.__wrapped__
    return wrapper


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A parameter that is passed by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def parsed(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of flags as the model takes them: what was written with commas is split."""
    hints = get_type_hints(kind)
    return {
        name: value.split(",") if isinstance(value, str) and _fixed_tuple(hints[name]) else value
        for name, value in given.items()
    }


def _form(annotation: Any) -> tuple[Any, str | None] | None:
    """Type of a flag and how the help shows its value; None for a field without a flag."""
    choices = _members(annotation)
    if any(get_origin(each) is Literal for each in choices):
        words = [str(word) for each in choices if get_origin(each) is Literal for word in get_args(each)]
        return str, "|".join([*(each.__name__.upper() for each in choices if isinstance(each, type)), *words])
    if len(choices) != 1:
        return None
    only = choices[0]
    if only in (int, float, bool, str):
        return only, None
    if _fixed_tuple(only):
        return str, ",".join(each.__name__.upper() for each in get_args(only))
    if get_origin(only) is tuple and (get_args(only)[0] is str or get_origin(get_args(only)[0]) is Literal):
        return list[str], "|".join(get_args(get_args(only)[0])) or None
    return None


def _members(annotation: Any) -> list[Any]:
    """The types of a union but for None; of anything else itself."""
    union = get_origin(annotation) in (Union, types.UnionType)
    return [each for each in (get_args(annotation) if union else [annotation]) if each is not type(None)]


def _fixed_tuple(annotation: Any) -> bool:
    """Whether an annotation means tuples of one length, None aside."""
    choices = _members(annotation)
    return len(choices) == 1 and get_origin(choices[0]) is tuple and get_args(choices[0])[-1] is not Ellipsis


def _shown(field: FieldInfo) -> str | bool:
    """The model's default for the help, if it has one."""
    value = field.get_default(call_default_factory=True)
    if value is None or value == ():
        return False
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _sentence(text: str) -> str:
    """A field's text as a sentence of the help; leaving the flag out stands for None."""
    plain = text.replace("`", "").replace(", or None", "").replace("; or None", "")
    return plain[:1].upper() + plain[1:]
