"""Prompts for measuring: `points:K`, `box`, `noisy-box:R`, drawn from names of image and object, and `clicks:K`.

A prompt depends on hash(image name, object id, seed) alone: not on the order of files, nor on what was drawn before.
Therefore every model and every level gets the same prompts, and so does another machine. The K points are the first K
of one sequence per object, so that curves over the number of clicks add clicks instead of drawing new ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from glesam.common.arrays import Bool, Float
from glesam.common.messages import hint
from glesam.common.seeds import generator
from glesam.errors import ConfigError
from glesam.prompts.drawn import draw_points, tight_box

KINDS = ("points", "box", "noisy-box", "clicks")
_FORMS = "points:K, clicks:K, box or noisy-box:R"
MAX_POINTS = 100


@dataclass(frozen=True)
class PromptSpec:
    """One way to prompt.

    Attributes:
        kind: `points`, `box`, `noisy-box`, or `clicks` for corrective ones, which depend on the answers.
        count: number of foreground points, or of corrective clicks; 0 for boxes.
        noise: largest shift of a corner as a share of the box's side; 0 but for `noisy-box`.
    """

    kind: str
    count: int = 0
    noise: float = 0.0

    def __str__(self) -> str:
        """Return the text that `parse_prompt` reads."""
        counted = {kind: f"{kind}:{self.count}" for kind in ("points", "clicks")}
        return {**counted, "box": "box"}.get(self.kind, f"noisy-box:{self.noise:g}")


@dataclass(frozen=True)
class DrawnPrompt:
    """The prompt of one object.

    Attributes:
        points: `(K, 2)` float32, `(x, y)` in pixels of the image, all foreground; None for boxes.
        box: `(4,)` float32, `(x0, y0, x1, y1)` in pixels; None for points.
    """

    points: Float | None = None
    box: Float | None = None


def parse_prompt(text: str) -> PromptSpec:
    """Read `points:K` or `clicks:K` (K of 1 to 100), `box` or `noisy-box:R` (0 < R <= 1).

    Raises:
        ConfigError: the text has another form; the message gives the nearest.
    """
    kind, _, argument = text.strip().partition(":")
    if kind not in KINDS:
        raise ConfigError(f"expected a prompt {_FORMS}, got {text!r}; {hint(kind, KINDS)}")
    if kind == "box":
        if argument:
            raise ConfigError(f"expected the prompt box without a number, got {text!r}; noisy-box:R moves corners")
        return PromptSpec("box")
    if kind in ("points", "clicks"):
        return PromptSpec(kind, count=_count(argument, text, kind))
    return PromptSpec("noisy-box", noise=_noise(argument, text))


def parse_prompts(texts: Iterable[str]) -> tuple[PromptSpec, ...]:
    """Read prompts, each text a prompt or a comma list of them; `points:1..10` stands for ten prompts.

    Of several `clicks:K` the largest stays, since its answers after each click are those of the others.

    Raises:
        ConfigError: a prompt is malformed, or there is none.
    """
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    specs = [parse_prompt(one) for word in words for one in _expand(word)]
    if not specs:
        raise ConfigError(f"expected at least one prompt, got none; give {_FORMS}, such as points:3")
    most = max((spec.count for spec in specs if spec.kind == "clicks"), default=0)
    return tuple(dict.fromkeys(spec for spec in specs if spec.kind != "clicks" or spec.count == most))


def prompt_for(spec: PromptSpec, truth: Bool, image: str, object_id: int, seed: int) -> DrawnPrompt:
    """Draw the prompt of one object.

    Args:
        spec: the kind of prompt, not `clicks`.
        truth: `(H, W)` bool mask of the object, at least one pixel.
        image: name of the image within its set.
        object_id: id of the object within the image.
        seed: the run's seed.

    Raises:
        PromptError: the object has no pixel.
    """
    rng = generator("prompt", spec.kind, image, object_id, seed)
    if spec.kind == "points":
        return DrawnPrompt(points=draw_points(truth, spec.count, rng))
    box = tight_box(truth)
    if spec.kind == "noisy-box":
        box = shake_box(box, spec.noise, (truth.shape[0], truth.shape[1]), rng)
    return DrawnPrompt(box=box)


def shake_box(box: Float, noise: float, size: tuple[int, int], rng: np.random.Generator) -> Float:
    """Move each corner coordinate by U(-noise, noise) times the box's side, within the image, at least a pixel wide.

    Args:
        box: `(4,)` float32 `(x0, y0, x1, y1)`.
        noise: largest shift as a share of the side (GleSAM, table 13: 0.2).
        size: `(H, W)` of the image.
        rng: source of the four draws; `noise` scales them, so that a larger noise moves the same way.
    """
    height, width = size
    sides = np.tile([box[2] - box[0], box[3] - box[1]], 2)
    x0, y0, x1, y1 = box + noise * rng.uniform(-1.0, 1.0, 4) * sides
    (x0, x1), (y0, y1) = _valid_side(x0, x1, width), _valid_side(y0, y1, height)
    return np.array([x0, y0, x1, y1], np.float32)


def _valid_side(low: float, high: float, limit: int) -> tuple[float, float]:
    """Order and clip two coordinates to `[0, limit]` and keep them at least one pixel apart."""
    low, high = sorted((min(max(low, 0.0), limit), min(max(high, 0.0), limit)))
    if high - low >= 1.0:
        return low, high
    start = min(max((low + high - 1.0) / 2, 0.0), limit - 1.0)
    return start, start + 1.0


def _expand(word: str) -> list[str]:
    """`points:1..10` as ten words; any other word as itself."""
    match = re.fullmatch(r"points:(\d{1,6})\.\.(\d{1,6})", word)
    if match is None:
        return [word]
    first, last = int(match[1]), int(match[2])
    if not 1 <= first <= last <= MAX_POINTS:
        raise ConfigError(f"expected points:A..B with 1 <= A <= B <= {MAX_POINTS}, got {word!r}; such as points:1..10")
    return [f"points:{count}" for count in range(first, last + 1)]


def _count(argument: str, text: str, kind: str) -> int:
    """Read the K of `points:K` or `clicks:K`."""
    if not re.fullmatch(r"[0-9]{1,6}", argument) or not 1 <= int(argument) <= MAX_POINTS:
        raise ConfigError(f"expected {kind}:K with K a number from 1 to {MAX_POINTS}, got {text!r}; such as {kind}:3")
    return int(argument)


def _noise(argument: str, text: str) -> float:
    """Read the R of `noisy-box:R`."""
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1.0:
        raise ConfigError(f"expected noisy-box:R with 0 < R <= 1, got {text!r}; the paper's is noisy-box:0.2")
    return value
