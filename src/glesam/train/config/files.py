"""Configurations in files, with values of the command line over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from glesam.common.documents import PydanticModel
from glesam.common.files import write_text
from glesam.common.settings import read_settings


def read_config(kind: type[PydanticModel], path: str | Path | None, overrides: dict[str, Any]) -> PydanticModel:
    """Read a stage's configuration from a JSON file and lay the given overrides (None = not given) over it.

    Raises:
        ConfigError: the file is missing or not JSON, a key is unknown (nearest name given), or a value does not fit.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    return read_settings(kind, path, given, "training option")


def write_config(config: BaseModel, path: Path) -> None:
    """Store a configuration beside what it made."""
    write_text(path, config.model_dump_json(indent=2))
