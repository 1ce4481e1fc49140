"""Verbs whose options are one object: its fields are flags, keys of the file of `--config`, and arguments in Python.

Unlike the stages of `glesam.cli.flags`, whose models know nothing of the command, each field here is annotated with
the `typer.Option` that it is on the command line.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

import typer
from pydantic import BaseModel, ConfigDict, model_validator
from typer.models import OptionInfo

from glesam.cli.flags import keyword, show_signature
from glesam.common.settings import keys_of, read_settings

ConfigFile = Annotated[Path | None, typer.Option(help="JSON file of options by name; flags lie over it.")]


class VerbOptions(BaseModel):
    """Options of a verb; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        """Values of files and of Python keep the bounds of the flags."""
        for name, field in type(self).model_fields.items():
            value, options = getattr(self, name), [each for each in field.metadata if isinstance(each, OptionInfo)]
            for least in (option.min for option in options if option.min is not None and value is not None):
                if value < least:
                    raise ValueError(f"{name} is {value}, below {least:g}")
        return self


def takes(kind: type[VerbOptions]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a verb that takes `options`, an object of `kind`, so that it has a flag for each of the fields.

    Further parameters of the verb stand before these flags, `--config` after them.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own, hints = inspect.signature(function).parameters, get_type_hints(function, include_extras=True)
        mine = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own.values() if p.name != "options"]
        flags = _flags(kind)

        @functools.wraps(function)
        def wrapper(context: typer.Context, config: Path | None, **values: Any) -> None:
            chosen = {flag.name: values.pop(flag.name) for flag in flags}
            given = {name: value for name, value in chosen.items() if _is_given(context, name)}
            function(options=read_settings(kind, config, given, "option"), **values)

        context = keyword("context", typer.Context, inspect.Parameter.empty)
        return show_signature(wrapper, [context, *mine, *flags, keyword("config", ConfigFile, None)])

    return decorate


def _flags(kind: type[VerbOptions]) -> list[inspect.Parameter]:
    hints, keys = get_type_hints(kind, include_extras=True), keys_of(kind)
    fields = kind.model_fields
    return [
        keyword(key, hints[name], inspect.Parameter.empty if fields[name].is_required() else fields[name].default)
        for name, key in keys.items()
    ]


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a value comes from the command line or from a variable of the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
