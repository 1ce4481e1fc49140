"""Verbs whose options are one object: its fields are flags, keys of the file of `--config`, and arguments in Python.

Unlike the stages of `glesam.cli.flags`, whose models know nothing of the command, each field here is annotated with
the `typer.Option` that it is on the command line.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args, get_type_hints

import typer
from pydantic import BaseModel, ConfigDict, model_validator
from typer.models import OptionInfo, ParameterInfo

from glesam.cli.flags import keyword, show_signature
from glesam.common.documents import PydanticModel
from glesam.common.settings import keys_of, read_settings, read_values, validated

ConfigFile = Annotated[Path | None, typer.Option(help="JSON file of options by name; flags lie over it.")]
Other = TypeVar("Other", bound=BaseModel)
_REQUIRED = " Required, here or in the file of --config."


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
    """Decorate a verb that takes `options`, an object of `kind`, so that it has a parameter for each of the fields.

    Fields without a default may stand in the file of `--config` like all others, those that are arguments of the
    command line too.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def wrapper(context: typer.Context, config: Path | None, **values: Any) -> None:
            given = {name: value for name, value in values.items() if _is_given(context, name)}
            function(options=read_settings(kind, config, given, "option"))

        context = keyword("context", typer.Context, inspect.Parameter.empty)
        return show_signature(wrapper, [context, *parameters(kind), keyword("config", ConfigFile, None)])

    return decorate


def read_pair(
    first: type[PydanticModel], second: type[Other], config: Path | None, given: Mapping[str, Any], what: str
) -> tuple[PydanticModel, Other]:
    """Two objects whose fields share one file and one line of flags; the flags lie over the file.

    Args:
        first: model of the first object; a key of both is its own.
        second: model of the second, which gets all other keys.
        config: JSON file of keys and values, or None.
        given: the flags; None stands for one that was not given.
        what: as for `glesam.common.settings.validated`.

    Raises:
        ConfigError: as `glesam.common.settings.read_settings`.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    values = {**read_values(config, what), **flags}
    own = {name: values.pop(name) for name in first.model_fields if name in values}
    return validated(first, own, what), validated(second, values, what)


def parameters(kind: type[VerbOptions], unset: bool = False) -> list[inspect.Parameter]:
    """Flags and arguments of the fields; what is required is asked for when the file of `--config` has been read.

    Args:
        kind: the options.
        unset: flags that are not given are None, instead of the field's default.
    """
    hints, fields = get_type_hints(kind, include_extras=True), kind.model_fields
    found = []
    for name, key in keys_of(kind).items():
        required, default = fields[name].is_required(), fields[name].default
        hint = _explained(hints[name], required, default) if required or unset else hints[name]
        found.append(keyword(key, hint, None if required or unset else default))
    return found


def _explained(annotation: Any, required: bool, default: Any) -> Any:
    """The annotation of a parameter that is None where it is not given: the help says what holds then."""
    kind, *notes = get_args(annotation)
    said = [copy.copy(note) for note in notes]
    for note in said:
        if isinstance(note, ParameterInfo) and required:
            note.help = (note.help or "") + _REQUIRED
        elif isinstance(note, ParameterInfo) and default not in (None, False):
            note.show_default = str(default)
    return Annotated[(kind, *said)]


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a value comes from the command line or from a variable of the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
