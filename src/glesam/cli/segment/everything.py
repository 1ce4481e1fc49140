"""What `glesam segment` adds for everything mode and for big images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glesam.cli.common import warn
from glesam.errors import ConfigError, PromptError


def everything_settings(
    everything: bool, prompted: bool, points_per_side: int | None, tile: int | None, like: str | None = None
) -> dict[str, Any] | None:
    """Settings of `Predictor.generate` from the options, or None when prompts say what to segment.

    Raises:
        PromptError: everything and prompts.
        ConfigError: an option of everything mode without it, or a bad value.
    """
    from glesam.everything.options import Options
    from glesam.views.crops import check_tile

    if not everything:
        if points_per_side is not None or like is not None:
            option = "--points-per-side" if like is None else "--everything-like"
            raise ConfigError(f"expected --everything with {option}, got prompts; leave one of them out")
        check_tile(tile)
        return None
    if prompted:
        raise PromptError("expected --everything or prompts, got both; leave --point, --box and --prompts out")
    given = {"points_per_side": points_per_side, "tile": tile, "like": like}
    settings = {name: value for name, value in given.items() if value is not None}
    Options.parse(settings)
    return settings


@contextmanager
def spoken_warnings() -> Iterator[None]:
    """What is warned of in the block becomes lines on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        warn(f"glesam: warning: {each.message}")
