"""The options of a build, checked when they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from glesam.common.messages import one_of
from glesam.degrade.lqseg.pipeline import LEVELS, config_of
from glesam.errors import ConfigError

Recipe = Literal["train", "test"]
Objects = Literal["all", "largest", "random"]
ImageFormat = Literal["png", "webp"]


@dataclass(frozen=True)
class BuildConfig:
    """How an LQSeg set is made.

    Attributes:
        levels: levels to make, of 1 (light), 2 and 3 (heavy).
        recipe: `test` is the paper's off-line recipe for its test sets, `train` the on-line one.
        seed: with an image's name and level, the source of all chance.
        objects: `all` keeps the instance ids; `largest` and `random` keep one object (0/255), the random one drawn from
            the hash of name and seed, as the paper does for COCO and LVIS.
        min_share: objects that cover less of the image than this share are no objects.
        image_format: `png` or `webp`, both lossless: a lossy file would be one more degradation on top of the level's.
            PNG is the default, as it is several times faster to write.
        limit: build the first so many images by name only; all when None.

    Raises:
        ConfigError: a value is impossible.
    """

    levels: tuple[int, ...] = LEVELS
    recipe: Recipe = "test"
    seed: int = 0
    objects: Objects = "all"
    min_share: float = 0.0
    image_format: ImageFormat = "png"
    limit: int | None = None

    def __post_init__(self) -> None:
        config_of(self.recipe)  # refuses an unknown recipe, with the nearest name
        one_of("a choice of objects", self.objects, get_args(Objects))
        one_of("a format", self.image_format, get_args(ImageFormat))
        object.__setattr__(self, "levels", tuple(sorted(set(self.levels))))
        if not self.levels or not set(self.levels) <= set(LEVELS):
            raise ConfigError(f"expected levels among 1, 2, 3, got {list(self.levels)}; give e.g. 1,2,3")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"expected a seed that is a whole number >= 0, got {self.seed!r}; give e.g. 0")
        if not 0.0 <= self.min_share < 1.0:
            raise ConfigError(f"expected a smallest share from 0 to below 1, got {self.min_share}; give e.g. 0.005")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"expected a limit of 1 or more, got {self.limit}; leave it out for all images")

    def acting(self) -> dict[str, Any]:
        """The options that act on an image (all but `limit`), with the degradation's own, as plain values."""
        options = asdict(self)
        del options["limit"]
        return options | {"degradation": asdict(config_of(self.recipe))}
