"""Configurations in files, with values of the command line over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from glesam.common.documents import expect_object, read_json, shown
from glesam.common.files import write_text
from glesam.common.settings import validated
from glesam.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound=BaseModel)


def read_config(kind: type[ConfigType], path: str | Path | None, overrides: dict[str, Any]) -> ConfigType:
    """Read a stage's configuration from a JSON file and lay the given overrides (None = not given) over it.

    Raises:
        ConfigError: the file is missing or not JSON, a key is unknown (nearest name given), or a value does not fit.
    """
    values: dict[str, Any] = {}
    if path is not None:
        what = "a JSON file of training options"
        values = expect_object(read_json(path, ConfigError, what=what), shown(path), ConfigError)
    values.update({k: v for k, v in overrides.items() if v is not None})
    return validated(kind, values, "training option")


def write_config(config: BaseModel, path: Path) -> None:
    """Store a configuration beside what it made."""
    write_text(path, config.model_dump_json(indent=2))
