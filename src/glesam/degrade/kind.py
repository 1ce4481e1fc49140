"""One kind of degradation as a row of a table, and the one way in which every row is run.

A row names its function, its parameters at severities 1 to 5 and the source of both. The functions take an RGB
image and named draws; they know nothing of seeds, masks or tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from glesam.common.messages import CHOOSE, hint
from glesam.degrade.draws import DrawRecord, Draws
from glesam.degrade.optics.warping import warp_mask
from glesam.errors import ConfigError, DataError, ImageError
from glesam.images.pixels import RGB

Mask: TypeAlias = NDArray[Any]
"""(H, W) bool or whole numbers: one value per pixel, its object."""

Five: TypeAlias = tuple[float, float, float, float, float]
"""One parameter at severities 1, 2, 3, 4 and 5."""

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_SIDE = 8


class Moved(NamedTuple):
    """An image whose pixels were moved, with the way back.

    `map_x` and `map_y` are (H, W) float32: the column and row, in pixels of the input, that each output pixel shows.
    """

    image: RGB
    map_x: NDArray[np.float32]
    map_y: NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """One kind of degradation.

    Attributes:
        name: the name by which it is asked for.
        render: `render(image, draws, **parameters)` gives the degraded image, or `Moved` where pixels move.
        parameters: name of each parameter to its five values, severity 1 first.
        source: paper that the formula comes from, or "own" with what it models.
        published: the published range, and whether its unit is the one used here.
        published_severity: the severity that is nearest to the published range; None where there is none.
        moves_pixels: the image's content is displaced, so its mask must be warped along.
    """

    name: str
    render: Callable[..., RGB | Moved]
    parameters: Mapping[str, Five]
    source: str
    published: str = ""
    published_severity: int | None = None
    moves_pixels: bool = False

    def at(self, severity: int) -> dict[str, float]:
        """Parameters at one severity, 1 to 5."""
        return {name: values[severity - 1] for name, values in self.parameters.items()}


def table(*rows: Kind) -> dict[str, Kind]:
    """Rows keyed by their names, in the given order."""
    return {row.name: row for row in rows}


def find(kinds: Mapping[str, Kind], name: str) -> Kind:
    """The row of that name.

    Raises:
        ConfigError: there is none; the message gives the nearest name.
    """
    if isinstance(name, str) and name in kinds:
        return kinds[name]
    cure = hint(name, kinds, CHOOSE)
    raise ConfigError(f"expected a kind of degradation out of {', '.join(kinds)}; got {name!r}; {cure}")


@dataclass(frozen=True)
class Degrader:
    """Degrades an image, and its mask along with it, by a row of a table.

    Attributes:
        kinds: the table, by name.
    """

    kinds: Mapping[str, Kind]

    @overload
    def __call__(
        self, image: RGB, kind: str, severity: int, seed: int, mask: None = None, record: DrawRecord | None = None
    ) -> RGB: ...
    @overload
    def __call__(
        self, image: RGB, kind: str, severity: int, seed: int, mask: Mask, record: DrawRecord | None = None
    ) -> tuple[RGB, Mask]: ...
    def __call__(
        self,
        image: RGB,
        kind: str,
        severity: int,
        seed: int,
        mask: Mask | None = None,
        record: DrawRecord | None = None,
    ) -> RGB | tuple[RGB, Mask]:
        """Degrade one image.

        Args:
            image: (H, W, 3) uint8 RGB, both sides at least 8 pixels; never changed.
            kind: a name of the table.
            severity: 1 (mild) to 5 (severe).
            seed: whole number >= 0; same seed, same bytes.
            mask: (H, W) bool or integers; warped where the kind moves pixels, else copied; never changed.
            record: filled with kind, severity, parameters and every draw, in order, where given. With
                `Draws.replay(record)` the row's `render` gives the same bytes again, without the seed.

        Returns:
            The degraded image, (H, W, 3) uint8; with a mask, the pair of image and mask (same dtype as given).

        Raises:
            ConfigError: unknown kind, severity outside 1 to 5, or impossible seed.
            ImageError: the image is not (H, W, 3) uint8 with sides of at least 8 pixels.
            DataError: the mask is not (H, W) bool or integers of the image's size.
        """
        row = find(self.kinds, kind)
        _check_severity(severity)
        _check_image(image)
        _check_mask(mask, image)
        draws, parameters = Draws(seed), row.at(severity)
        result = row.render(np.ascontiguousarray(image), draws, **parameters)
        if record is not None:
            record.update({"kind": row.name, "severity": int(severity), **parameters, **draws.record})
        degraded = result.image if isinstance(result, Moved) else result
        if mask is None:
            return degraded
        return degraded, warp_mask(mask, result.map_x, result.map_y) if isinstance(result, Moved) else mask.copy()


def _check_severity(severity: int) -> None:
    """Refuse what is not one of 1 to 5; True is not 1 here."""
    whole = isinstance(severity, (int, np.integer)) and not isinstance(severity, bool)
    if not whole or severity not in SEVERITIES:
        raise ConfigError(f"expected a severity of 1, 2, 3, 4 or 5, got {severity!r}; 1 is mild and 5 is severe")


def _check_image(image: RGB) -> None:
    """Refuse what is not an RGB uint8 image of at least 8 x 8 pixels."""
    shape = getattr(image, "shape", None)
    dtype = getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise ImageError(
            f"expected an (H, W, 3) uint8 RGB array, got {dtype} of shape {shape}; convert it to RGB first"
        )
    if min(shape[:2]) < SMALLEST_SIDE:
        raise ImageError(
            f"expected an image of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {shape[1]} x {shape[0]}; "
            "enlarge it or leave it out"
        )


def _check_mask(mask: Mask | None, image: RGB) -> None:
    """Refuse a mask of another size or of real numbers."""
    if mask is None:
        return
    shape = getattr(mask, "shape", None)
    dtype = getattr(mask, "dtype", None)
    if dtype is None or (dtype != np.bool_ and not np.issubdtype(dtype, np.integer)):
        kind = dtype if dtype is not None else type(mask).__name__
        raise DataError(f"expected a mask of bool or integers, got {kind}; use one whole number per object")
    if shape != image.shape[:2]:
        raise DataError(f"expected a mask of shape {image.shape[:2]} like the image, got {shape}; use its own mask")
