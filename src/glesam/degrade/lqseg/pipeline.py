"""LQSeg: the two-order degradation (blur, resize, noise, JPEG, twice, and a sinc filter) at three levels.

The level is the divisor of the image's size in the second resize: 1, 2 and 4 for LQ-1, LQ-2 and LQ-3. Nothing else
depends on it, so that one seed at three levels gives three images that differ by the level alone.
Sources: GleSAM (CVPR 2025, arXiv 2503.12507), section 3.1; Real-ESRGAN (arXiv 2107.10833), section 3. Differences
to the published programs: any size in and the same out; randomness from one seed; the second kernel is used; both
recipes resample and code with OpenCV (the published test recipe used its own JPEG and area resampling on a GPU).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from glesam.common.messages import CHOOSE, hint
from glesam.degrade.draws import DrawRecord, Draws, DrawValue
from glesam.degrade.lqseg.config import LqsegConfig, OrderConfig
from glesam.degrade.lqseg.jpeg import draw_quality, jpeg, to_floats, to_uint8
from glesam.degrade.lqseg.kernels import Floats, Kernel, blur, draw_final_sinc, draw_kernel, unsharp_mask
from glesam.degrade.lqseg.noise import add_noise
from glesam.degrade.lqseg.resize import draw_mode, draw_resize, resize, scaled_size
from glesam.errors import ConfigError, DataError, ImageError

LEVELS = (1, 2, 3)
RECIPES = {"train": LqsegConfig.train, "test": LqsegConfig.test}


def degrade(
    image: NDArray[np.uint8],
    level: int | None,
    seed: int,
    recipe: str = "train",
    config: LqsegConfig | None = None,
    record: DrawRecord | None = None,
) -> NDArray[np.uint8]:
    """Degrade one image; same seed, same bytes (with the same OpenCV).

    Args:
        image: `(H, W, 3)` uint8 RGB of any size; never changed.
        level: 1 (LQ-1), 2 or 3 (LQ-3, worst); None draws the divisor from the recipe's published mixture.
        seed: whole number >= 0.
        recipe: "train" (on-line pairs) or "test" (off-line test sets); not used where `config` is given.
        config: a recipe of one's own.
        record: a dictionary to fill with recipe, level and every draw in order; `replay` redoes an image from it.

    Returns:
        `(H, W, 3)` uint8 RGB of the same size, or `(S, S, 3)` where the configuration has an output size S.

    Raises:
        ConfigError: unknown level or recipe, impossible seed, or no level for a recipe without mixture.
        ImageError: the image is not `(H, W, 3)` uint8.
    """
    config = config_of(recipe) if config is None else config
    _check_level(level, config)
    _check_image(image)
    draws = Draws(seed)
    degraded = _degrade(image, level, config, draws)
    if record is not None:
        record.update({"recipe": config.recipe, "config": config.digest(), "level": level or 0, **draws.record})
    return degraded


def replay(
    image: NDArray[np.uint8], record: Mapping[str, DrawValue], config: LqsegConfig | None = None
) -> NDArray[np.uint8]:
    """Redo a degraded image from the clean one and the record of `degrade`.

    Args:
        image: the same clean image, `(H, W, 3)` uint8 RGB.
        record: as `degrade` filled it, or read back from JSON.
        config: the configuration used, where it was not one of the two published ones.

    Raises:
        DataError: the record is not complete or was made with another configuration.
        ConfigError: its level or recipe is unknown.
        ImageError: the image is not `(H, W, 3)` uint8.
    """
    for key in ("recipe", "config", "level"):
        if key not in record:
            raise DataError(f"expected {key!r} in the record of a degraded image, found none; pass the whole record")
    config = config_of(str(record["recipe"])) if config is None else config
    if record["config"] != config.digest():
        raise DataError(
            f"expected a record of configuration {config.digest()}, got one of {record['config']}; pass its config"
        )
    level = int(record["level"]) or None
    _check_level(level, config)
    _check_image(image)
    return _degrade(image, level, config, Draws.replay(record))


def config_of(recipe: str) -> LqsegConfig:
    """The published configuration of that name.

    Raises:
        ConfigError: there is none; the message gives the nearest name.
    """
    if recipe not in RECIPES:
        cure = hint(recipe, RECIPES, CHOOSE)
        raise ConfigError(f"expected a recipe out of {', '.join(RECIPES)}; got {recipe!r}; {cure}")
    return RECIPES[recipe]()


def parse_level(text: str) -> int:
    """A level from `1`, `lq1`, `LQ-1` and the like.

    Raises:
        ConfigError: it is none of the three; the message gives the nearest.
    """
    match = re.fullmatch(r"(?:lq)?[-_ ]?(\d+)", text.strip().lower())
    if match is not None and int(match[1]) in LEVELS:
        return int(match[1])
    names = [f"lq{level}" for level in LEVELS]
    cure = hint(text if match is None else f"lq{match[1]}", names, CHOOSE)
    raise ConfigError(f"expected a level out of {', '.join(names)} (or 1, 2, 3); got {text!r}; {cure}")


def _degrade(image: NDArray[np.uint8], level: int | None, config: LqsegConfig, draws: Draws) -> NDArray[np.uint8]:
    """The whole pipeline with checked arguments."""
    height, width = image.shape[:2]
    floats = to_floats(image)
    if config.sharpen is not None:
        floats = unsharp_mask(floats, config.sharpen)
    kernel1 = draw_kernel(draws, "kernel1", config.first.blur)
    kernel2 = draw_kernel(draws, "kernel2", config.second.blur)
    final = draw_final_sinc(draws, "sinc", config.final_sinc_probability, config.final_sinc_sizes)
    floats = _soften_and_scale(floats, (height, width), 1, kernel1, "1", config.first, draws)
    floats = add_noise(floats, draws, "noise1", config.first.noise)
    floats = jpeg(floats, draw_quality(draws, "jpeg1", config.first.jpeg_quality))
    divisor = config.scales[level - 1] if level else draws.choice("resize2.divisor", config.scale_mixture)
    second = kernel1 if config.second_kernel == "reuse" else kernel2
    floats = _soften_and_scale(floats, (height, width), divisor, second, "2", config.second, draws)
    floats = add_noise(floats, draws, "noise2", config.second.noise)
    size = (height, width) if config.output_size is None else (config.output_size, config.output_size)
    floats = _finish(floats, size, final, config, draws)
    if config.stored_jpeg_quality is not None:
        floats = jpeg(floats, config.stored_jpeg_quality)
    return to_uint8(floats)


def _soften_and_scale(
    floats: Floats, size: tuple[int, int], divisor: int, kernel: Kernel, number: str, config: OrderConfig, draws: Draws
) -> Floats:
    """Blur and resize of one order; the new size is a share of the clean image's, not of the present one's."""
    if draws.flag(f"blur{number}.applied", config.blur.probability):
        floats = blur(floats, kernel)
    drawn = draw_resize(draws, f"resize{number}", config.resize)
    return resize(floats, *scaled_size(*size, drawn.scale, divisor), drawn.mode)


def _finish(floats: Floats, size: tuple[int, int], final: Kernel | None, config: LqsegConfig, draws: Draws) -> Floats:
    """Resize back, sinc filter and JPEG, in one of two orders."""
    sinc_first = draws.flag("final.sinc_first", config.sinc_first_probability)
    quality = draw_quality(draws, "jpeg2", config.second.jpeg_quality)
    mode = draw_mode(draws, "final")
    if not sinc_first:
        floats = jpeg(floats, quality)
    floats = resize(floats, *size, mode)
    if final is not None:
        floats = blur(floats, final)
    return jpeg(floats, quality) if sinc_first else floats


def _check_level(level: int | None, config: LqsegConfig) -> None:
    """Refuse what is no level; True is not 1 here."""
    if level is None and not config.scale_mixture:
        raise ConfigError(f"expected level 1, 2 or 3 for recipe {config.recipe!r}, which has no mixture; got None")
    whole = isinstance(level, (int, np.integer)) and not isinstance(level, bool)
    if level is not None and (not whole or level not in LEVELS):
        raise ConfigError(f"expected level 1, 2 or 3, got {level!r}; 1 is LQ-1 (mild), 3 is LQ-3 (severe)")


def _check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an RGB uint8 image with pixels."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or 0 in shape:
        raise ImageError(
            f"expected an (H, W, 3) uint8 RGB array with pixels, got {dtype} of shape {shape}; convert it to RGB first"
        )
