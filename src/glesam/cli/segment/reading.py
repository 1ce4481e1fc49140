"""How `glesam segment` reads its images: the range of wide samples, and which bands are the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from glesam.cli.segment.everything import spoken_warnings

if TYPE_CHECKING:
    from glesam.images.reading import ReadImage, ReadOptions
    from glesam.images.sources import ImageSource

ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="Samples wider than 8 bits: auto (stretched where they use little of their type), full (the type's "
        "range), or the values that become black and white, as 0,4080.",
        metavar="auto|full|LOW,HIGH",
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(help="Bands of a TIFF of many that become red, green and blue, from 1, as 4,3,2.", metavar="R,G,B"),
]


def read_options(values: str | None, bands: str | None) -> ReadOptions | None:
    """What the options say; None where none was given.

    Raises:
        ConfigError: one of them is malformed.
    """
    if values is None and bands is None:
        return None
    from glesam.images.reading import ReadOptions

    return ReadOptions.parse(values, bands)


def read_spoken(source: ImageSource, options: ReadOptions | None) -> ReadImage:
    """Read an image; what its reader warns of becomes a line on stderr.

    Raises:
        ImageError: see `glesam.images.read`.
    """
    from glesam.images.reading import ReadOptions

    with spoken_warnings():
        return source.read_with(options or ReadOptions())


def facts_of(found: ReadImage) -> dict[str, Any]:
    """What outputs say of how an image was read, where there was a choice."""
    return {"reading": found.facts} if found.facts else {}
