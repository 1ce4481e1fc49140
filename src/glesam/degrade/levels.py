"""Levels of quality at which an image is measured: `clear`, `lq1` to `lq3`, `robustseg:KIND:S`, `real:KIND:S`.

Degradations are made on the fly with a seed from hash(image name, level, seed): the same bytes for every model, in
whatever order images are read. Where a degradation moves pixels, the mask moves along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from glesam.common.messages import hint
from glesam.common.seeds import degradation_seed
from glesam.data.base import Sample
from glesam.degrade.draws import DrawRecord
from glesam.errors import ConfigError

LQ_LEVELS = (1, 2, 3)
RECIPES = ("train", "test")
_FAMILIES = ("robustseg", "real")
_FORMS = "clear, lq1, lq2, lq3, robustseg:KIND:SEVERITY or real:KIND:SEVERITY"
_ALL = "all"


@dataclass(frozen=True)
class Level:
    """One level of quality.

    Attributes:
        family: `clear`, `lq` (LQSeg), `robustseg` or `real`.
        kind: kind of degradation for `robustseg` and `real`, else empty.
        severity: 1 to 3 for `lq`, 1 to 5 for kinds, 0 for `clear`.
    """

    family: str
    kind: str = ""
    severity: int = 0

    def __str__(self) -> str:
        """Return the text that `parse_level` reads."""
        if self.family == "clear":
            return "clear"
        return f"lq{self.severity}" if self.family == "lq" else f"{self.family}:{self.kind}:{self.severity}"

    @property
    def is_clear(self) -> bool:
        """Whether the image stays as it is."""
        return self.family == "clear"

    @property
    def moves_pixels(self) -> bool:
        """Whether the content of an image leaves its place, so that it cannot be compared pixel by pixel."""
        if self.family not in _FAMILIES:
            return False
        from glesam.degrade import real, robustseg

        kinds = real.KINDS if self.family == "real" else robustseg.KINDS
        return kinds[self.kind].moves_pixels


CLEAR = Level("clear")


def parse_level(text: str) -> Level:
    """Read one level; the kind and severity are checked against the tables of the degradations.

    Raises:
        ConfigError: unknown level, kind or severity; the message gives the nearest name.
    """
    word = text.strip()
    plain = {"clear": CLEAR, **{f"lq{n}": Level("lq", severity=n) for n in LQ_LEVELS}}
    if word in plain:
        return plain[word]
    family, *rest = word.split(":")
    if family not in _FAMILIES:
        raise ConfigError(f"expected a level {_FORMS}, got {text!r}; {hint(family, [*plain, *_FAMILIES])}")
    if len(rest) != 2:
        raise ConfigError(f"expected {family}:KIND:SEVERITY, got {text!r}; such as {family}:{kinds_of(family)[0]}:3")
    kind, severity = rest
    if kind not in kinds_of(family):
        raise ConfigError(f"expected a kind of {family} in a level, got {text!r}; {hint(kind, kinds_of(family))}")
    if severity not in {"1", "2", "3", "4", "5"}:
        raise ConfigError(f"expected a severity of 1 to 5 after {family}:{kind}, got {text!r}; 5 is the most severe")
    return Level(family, kind, int(severity))


def parse_levels(texts: Iterable[str]) -> tuple[Level, ...]:
    """Read levels, each text a level or a comma list of them; the kind `all` stands for every kind of its family.

    Raises:
        ConfigError: a level is malformed or unknown, or there is none.
    """
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    levels = [parse_level(one) for word in words for one in _expand(word)]
    if not levels:
        raise ConfigError(f"expected at least one level, got none; give {_FORMS}")
    return tuple(dict.fromkeys(levels))


def kinds_of(family: str) -> list[str]:
    """Names of the kinds of degradation of `robustseg` or `real`, in the order of their table."""
    if family == "robustseg":
        from glesam.degrade.robustseg import KINDS as ROBUSTSEG_KINDS

        return list(ROBUSTSEG_KINDS)
    from glesam.degrade.real import KINDS as REAL_KINDS

    return list(REAL_KINDS)


def published_levels() -> tuple[Level, ...]:
    """The 15 kinds of RobustSeg, each at the severity nearest to the published strength."""
    from glesam.degrade.robustseg import KINDS

    return tuple(Level("robustseg", name, kind.published_severity or 3) for name, kind in KINDS.items())


def apply(sample: Sample, level: Level, seed: int, recipe: str = "test") -> Sample:
    """Degrade a sample to a level; the mask changes only where the degradation moves pixels.

    Args:
        sample: the clear image with its mask.
        level: wanted quality.
        seed: the run's seed.
        recipe: LQSeg recipe, `test` (the off-line test sets) or `train`.

    Raises:
        ConfigError: unknown kind or recipe.
        ImageError: the image is too small for the degradation.
    """
    if level.is_clear:
        return sample
    if recipe not in RECIPES:
        raise ConfigError(f"expected a recipe train or test, got {recipe!r}; {hint(recipe, RECIPES)}")
    seed = degradation_seed(sample.name, str(level), seed)
    image, mask = degraded(sample.image, sample.mask, level, seed, recipe)
    return replace(sample, image=image, mask=mask)


def degraded(
    image: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.int32],
    level: Level,
    seed: int,
    recipe: str = "test",
    record: DrawRecord | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Degrade an image and its mask by the degradation of a level's family, imported here: a clear run needs none.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` ids, which move where the degradation moves pixels.
        level: wanted quality, not clear.
        seed: of this image, whole number >= 0.
        recipe: of LQSeg.
        record: gets all draws.

    Raises:
        ImageError: the image is too small for the degradation.
    """
    if level.family == "lq":
        from glesam.degrade import lqseg

        return lqseg.degrade(image, level.severity, seed, recipe=recipe, record=record), mask
    if level.family == "real":
        from glesam.degrade import real

        return real.degrade(image, level.kind, level.severity, seed, mask=mask, record=record)
    from glesam.degrade import robustseg

    return robustseg.degrade(image, level.kind, level.severity, seed, mask=mask, record=record)


def _expand(word: str) -> list[str]:
    """`robustseg:all:3` as one word per kind; any other word as itself."""
    family, *rest = word.split(":")
    if family in _FAMILIES and len(rest) == 2 and rest[0] == _ALL:
        return [f"{family}:{kind}:{rest[1]}" for kind in kinds_of(family)]
    return [word]
