"""The colours of objects, told apart by colour-blind people too."""

from __future__ import annotations

import colorsys

Colour = tuple[int, int, int]

_FIRST_COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
"""Colours that colour-blind people tell apart too (Okabe and Ito 2008, "Color Universal Design")."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_FIRST_HUE = 0.7
_SHADES = ((0.55, 1.0), (1.0, 0.9), (1.0, 0.55))
"""Saturation and value of later colours in turn. Of the shades and first hues tried, these keep the first 20 colours
farthest apart: no two differ by less than 26 (CIE76), where 2.3 is just noticeable."""


def colour(index: int) -> Colour:
    """The fixed RGB colour of object `index`: first the palette, then hues that never come close to the last ones."""
    if index < len(_FIRST_COLOURS):
        return _FIRST_COLOURS[index]
    hue = (_FIRST_HUE + index * _GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, *_SHADES[index % len(_SHADES)])
    return round(255 * red), round(255 * green), round(255 * blue)
