"""Points and boxes as the command line writes them: numbers with commas between."""

from __future__ import annotations

import math

from glesam.errors import PromptError
from glesam.prompts.arrays import box_rows, point_lists


def parse_point(text: str) -> tuple[float, float, int]:
    """Read `x,y` or `x,y,label` (1 foreground, the default; 0 background).

    Raises:
        PromptError: anything else.
    """
    cure = f"expected a point x,y or x,y,0 or x,y,1, got {text!r}; write for example 320,240"
    values = _numbers(text, cure)
    if len(values) not in (2, 3) or (len(values) == 3 and values[2] not in (0, 1)):
        raise PromptError(cure)
    x, y = point_lists([values[:2]])[0][0][0].tolist()
    return x, y, int(values[2]) if len(values) == 3 else 1


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read `x0,y0,x1,y1`.

    Raises:
        PromptError: anything else, or x1 <= x0 or y1 <= y0.
    """
    cure = f"expected a box x0,y0,x1,y1, got {text!r}; write for example 10,20,300,400"
    values = _numbers(text, cure)
    if len(values) != 4:
        raise PromptError(cure)
    x0, y0, x1, y1 = box_rows(values)[0].tolist()
    return x0, y0, x1, y1


def _numbers(text: str, cure: str) -> list[float]:
    """Finite numbers with commas between."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise PromptError(cure) from None
    if not all(map(math.isfinite, values)):
        raise PromptError(cure)
    return values
