"""Packages that only some verbs need: extras, named in a message where they are missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from glesam.errors import ConfigError


def require(packages: Sequence[str], verb: str, extra: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        packages: names by which they are imported.
        verb: what needs them, such as `train`.
        extra: that brings them.

    Raises:
        ConfigError: one is missing; says how to get them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"expected the packages of glesam {verb}, got none named {' and '.join(missing)}; "
            f"run: pip install 'glesam[{extra}]'"
        )


def require_training() -> None:
    """Check that what all stages of training need is installed.

    Raises:
        ConfigError: it is not.
    """
    require(("accelerate", "tensorboard"), "train", "train")
