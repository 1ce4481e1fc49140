"""The door for images: `read` one, or find many with `iterate` and read them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.images.opening import FORMATS
    from glesam.images.pixels import RGB
    from glesam.images.ranges import ImageWarning
    from glesam.images.reading import MAX_PIXELS, ImageInput, content_hash, read
    from glesam.images.sources import STDIN, SUFFIXES, ImageSource, iterate

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "RGB",
    "STDIN",
    "SUFFIXES",
    "ImageInput",
    "ImageSource",
    "ImageWarning",
    "content_hash",
    "iterate",
    "read",
]

__getattr__ = lazy(
    __name__,
    {
        "FORMATS": "glesam.images.opening",
        "ImageInput": "glesam.images.reading",
        "ImageSource": "glesam.images.sources",
        "ImageWarning": "glesam.images.ranges",
        "MAX_PIXELS": "glesam.images.reading",
        "RGB": "glesam.images.pixels",
        "STDIN": "glesam.images.sources",
        "SUFFIXES": "glesam.images.sources",
        "content_hash": "glesam.images.reading",
        "iterate": "glesam.images.sources",
        "read": "glesam.images.reading",
    },
)
