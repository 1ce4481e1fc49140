"""Degradations by name, as the command line takes them: recipe, then levels, or kinds with severities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glesam.common.messages import CHOOSE, hint
from glesam.degrade import lqseg, real, robustseg
from glesam.degrade.draws import DrawRecord
from glesam.degrade.kind import SEVERITIES, Kind, find
from glesam.degrade.levels import Level, degraded
from glesam.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPES = ("lqseg", "robustseg", "real")
_KINDS: Mapping[str, Mapping[str, Kind]] = {"robustseg": robustseg.KINDS, "real": real.KINDS}
_DEFAULT_SEVERITY = 3


@dataclass(frozen=True)
class Variant:
    """One degradation to apply to images, as `glesam degrade` names it.

    Attributes:
        quality: what it is.
        lqseg_recipe: "train" or "test" of LQSeg; empty otherwise.
    """

    quality: Level
    lqseg_recipe: str = ""

    @property
    def name(self) -> str:
        """For folders: `lq2`, or kind and severity as `fog-3`."""
        return f"{self.kind}-{self.quality.severity}" if self.kind else str(self.quality)

    @property
    def caption(self) -> str:
        """For people: `LQ-2`, `fog 3`."""
        return f"{self.kind or 'LQ'}{' ' if self.kind else '-'}{self.quality.severity}"

    @property
    def recipe(self) -> str:
        """One of `RECIPES`."""
        return "lqseg" if self.quality.family == "lq" else self.quality.family

    @property
    def kind(self) -> str:
        """Kind of degradation; empty for LQSeg."""
        return self.quality.kind

    @property
    def level(self) -> str:
        """The level as evaluations and seeds call it: `lq2`, or `real:fog:3`."""
        return str(self.quality)

    @property
    def moves_pixels(self) -> bool:
        """Whether masks of the clean image no longer fit the degraded one."""
        return self.quality.moves_pixels

    def apply(self, image: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], DrawRecord]:
        """Degrade an image; give it back with the record of all draws.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            seed: whole number >= 0.

        Raises:
            ImageError: the image is too small for this degradation.
        """
        record: DrawRecord = {}
        empty = np.zeros(image.shape[:2], np.int32)
        return degraded(image, empty, self.quality, seed, self.lqseg_recipe, record)[0], record


def parse_variants(
    recipe: str, lqseg_recipe: str | None, level: str | None, kind: str | None, severity: str | None
) -> list[Variant]:
    """Variants from the texts of the command line; `all`, or parts with commas between, give several.

    Args:
        recipe: one of `RECIPES`.
        lqseg_recipe: LQSeg only: "train" or "test", the default.
        level: LQSeg only: `1`, `lq1,lq3` or `all`, the default.
        kind: other recipes only: names or `all`, the default.
        severity: other recipes only: `1` to `5` or `all`; 3 by default.

    Raises:
        ConfigError: an unknown name, with the nearest known one; or an option of the other recipes.
    """
    if recipe not in RECIPES:
        raise ConfigError(
            f"expected a recipe out of {', '.join(RECIPES)}; got {recipe!r}; {hint(recipe, RECIPES, CHOOSE)}"
        )
    if recipe == "lqseg":
        _refuse(recipe, "choose with --level", kind=kind, severity=severity)
        lqseg_recipe = lqseg_recipe or "test"
        lqseg.config_of(lqseg_recipe)
        levels = lqseg.LEVELS if level in (None, "all") else _unique(lqseg.parse_level(t) for t in _parts(level))
        return [Variant(Level("lq", severity=i), lqseg_recipe) for i in levels]
    _refuse(recipe, "choose with --kind and --severity", level=level, lqseg_recipe=lqseg_recipe)
    kinds = _KINDS[recipe]
    names = tuple(kinds) if kind in (None, "all") else _unique(find(kinds, t).name for t in _parts(kind))
    return [Variant(Level(recipe, n, s)) for n in names for s in _severities(severity)]


def _severities(text: str | None) -> tuple[int, ...]:
    if text is None:
        return (_DEFAULT_SEVERITY,)
    if text == "all":
        return SEVERITIES
    allowed = {str(severity): severity for severity in SEVERITIES}
    for part in _parts(text):
        if part not in allowed:
            raise ConfigError(f"expected severities of 1 (mild) to 5 (severe), got {part!r}; give e.g. 3, or 1,3,5")
    return _unique(allowed[part] for part in _parts(text))


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",")]


def _unique(values: object) -> tuple:  # type: ignore[type-arg]
    """Values without repeats, in order."""
    return tuple(dict.fromkeys(values))  # type: ignore[call-overload]


def _refuse(recipe: str, cure: str, **options: str | None) -> None:
    """Refuse options that this recipe does not know, rather than pass over them."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"expected no --{name.replace('_', '-')} with --recipe {recipe}, got {value!r}; {cure}")
