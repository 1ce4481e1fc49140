"""From a decoder's coarse logits to the mask that is shown: exact edges, no crumbs, and clicks that hold.

One fixed policy for every way in (prompts, everything mode, video): a guided filter moves the edge to the image's own
(He, Sun and Tang, TPAMI 2013), clicks keep the parts that they hit, small islands go and small holes are filled. What a
click asks for and the decoder did not give is put right around the click alone; see `glesam.masks.obey`.
Scores and low-resolution logits stay the decoder's (but see `glesam.predict.one_way` for corrections). `refine="off"`
leaves its masks bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_window
from glesam.common.messages import one_of
from glesam.masks.obey import Clicks, Grey, Window, obey

REFINE_MODES = ("auto", "off")

GUIDE_PIXELS = 2**21
"""Pixels of the largest guide: above, edges are found in a smaller image, which still has many to a logit."""


@dataclass(frozen=True)
class Policy:
    """How masks are refined.

    Attributes:
        cells: largest radius of the guided filter, in cells of the decoder's logits.
        share: largest radius as a share of the square root of the mask's area, so that it shrinks with the object.
        least_radius: pixels; a smaller filter has no effect and is left out.
        eps: regularisation of the guided filter, in squared grey values of 0 to 1.
        island: components smaller than this share of the largest go.
        hole: holes smaller than this share of the mask, that do not touch the image's edge, are filled.
        certain: mean probability from which on a component that no click hits stays: objects have several parts.
    """

    cells: float = 2.0
    share: float = 0.05
    least_radius: int = 2
    eps: float = 1e-3
    island: float = 0.05
    hole: float = 0.05
    certain: float = 0.85


POLICY = Policy()

DEGRADED = Policy(certain=0.8)
"""For images that the gate calls degraded, where the decoder is less sure of every part. A larger `eps` loses there."""


def check_mode(mode: str) -> str:
    """Check the name of a way to refine.

    Raises:
        ConfigError: it is not one of `REFINE_MODES`.
    """
    return one_of("refine", mode, REFINE_MODES)


def make_guide(image: npt.NDArray[np.uint8]) -> Grey:
    """Grey values of an `(H, W, 3)` uint8 RGB image, `(H, W)` uint8; shrunk to at most `GUIDE_PIXELS`."""
    height, width = image.shape[:2]
    factor = (GUIDE_PIXELS / (height * width)) ** 0.5
    if factor < 1:
        # Shrunk before it turns grey: the grey of a large image alone would be as large as a mask of it.
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def guided_filter(guide: Float, values: Float, radius: int, eps: float) -> Float:
    """Smooth values within regions of a guide, and not across its edges (He et al., equations 5, 6 and 8).

    Args:
        guide: `(H, W)` float32, 0 to 1.
        values: `(H, W)` float32.
        radius: half side of the square windows in pixels, at least 1; beyond the array it is mirrored.
        eps: variance of the guide below which a window counts as flat.

    Returns:
        `(H, W)` float32.
    """
    side = (2 * radius + 1, 2 * radius + 1)
    # Variances as differences of large numbers lose digits; around the guide's mean they are small.
    centred = guide - np.float32(guide.mean())
    mean_guide, mean_values = cv2.blur(centred, side), cv2.blur(values, side)
    covariance = cv2.blur(centred * values, side) - mean_guide * mean_values
    variance = cv2.blur(centred * centred, side) - mean_guide * mean_guide
    slope = covariance / (np.maximum(variance, 0) + np.float32(eps))
    offset = mean_values - slope * mean_guide
    return np.asarray(cv2.blur(slope, side) * centred + cv2.blur(offset, side), np.float32)


def filter_radius(area: int, cell: float, policy: Policy = POLICY) -> int:
    """Radius of the guided filter in pixels; 0 where it is too small to have an effect.

    Args:
        area: the mask's pixels.
        cell: pixels to a cell of the decoder's logits.
        policy: bounds.
    """
    radius = int(min(policy.cells * cell, policy.share * area**0.5))
    return radius if radius >= policy.least_radius else 0


def refine(
    logits: Float,
    grey: Grey,
    cell: float,
    clicks: Clicks | None = None,
    policy: Policy = POLICY,
    obeys: bool = True,
) -> Bool:
    """Make one mask of logits, with all that the policy says.

    Args:
        logits: `(H, W)` float32, the decoder's enlarged to the image's size, above 0 inside.
        grey: `(H, W)` uint8, the image at the same size.
        cell: pixels to a cell of the decoder's logits.
        clicks: on the object; None where there were none.
        policy: bounds.
        obeys: whether clicks are to hold.

    Returns:
        `(H, W)` bool.
    """
    inside = logits > 0
    mask = np.zeros_like(inside)
    if clicks is not None and obeys:
        logits = obey(logits, grey, clicks, int(np.count_nonzero(inside)))
        inside = logits > 0
    radius = filter_radius(int(np.count_nonzero(inside)), cell, policy)
    window = pixel_window(inside, 2 * radius + 1)
    part, here = logits[window], None if clicks is None else clicks.within(window)
    if part.size:
        sharp = sharpen(part, grey[window], radius, policy)
        if here is not None and obeys:
            sharp = _hold(sharp, part, here, radius)
        mask[window] = fill_holes(choose_parts(sharp, part, here, policy), here, policy)
    return mask


def sharpen(logits: Float, grey: Grey, radius: int, policy: Policy = POLICY) -> Bool:
    """Cut logits where the image has its edge.

    Args:
        logits: `(h, w)` float32, above 0 inside.
        grey: `(h, w)` uint8.
        radius: of the guided filter in pixels; 0 cuts the logits as they are.
        policy: the filter's `eps`.

    Returns:
        `(h, w)` bool.
    """
    if not radius:
        return np.asarray(logits > 0, bool)
    smooth = guided_filter(grey.astype(np.float32) / np.float32(255), _chance(logits), radius, policy.eps)
    return np.asarray(smooth > 0.5, bool)


def choose_parts(mask: Bool, logits: Float, clicks: Clicks | None = None, policy: Policy = POLICY) -> Bool:
    """Keep the components of a mask that belong to the object.

    With positive clicks and no box these are the ones that clicks hit, of whatever size, and others of which the
    decoder is certain. Islands go in any case.

    Args:
        mask: `(h, w)` bool.
        logits: `(h, w)` float32.
        clicks: in pixels of the mask.
        policy: shares.

    Returns:
        `(h, w)` bool.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0
    hit = np.zeros(count, bool)
    if clicks is not None:
        hit[clicks.values(labels, 1)] = True
        hit[0] = False
    kept = areas >= policy.island * areas[hit if hit.any() else slice(None)].max()
    if hit.any() and clicks is not None and not clicks.has_box:
        sums = np.bincount(labels.ravel(), _chance(logits).ravel(), count)
        kept &= sums >= policy.certain * areas
    kept |= hit
    kept[0] = False
    return np.asarray(kept[labels], bool)


def fill_holes(mask: Bool, clicks: Clicks | None = None, policy: Policy = POLICY) -> Bool:
    """Fill small holes; one that a negative click is in stays open.

    Background that touches the array's edge is no hole: there the image ends, or there is more of it outside.

    Args:
        mask: `(h, w)` bool.
        clicks: in pixels of the mask.
        policy: shares.

    Returns:
        `(h, w)` bool.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    if count < 2:
        return mask
    holes = stats[:, cv2.CC_STAT_AREA] < policy.hole * np.count_nonzero(mask)
    holes[0] = False
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        holes[line] = False
    if clicks is not None:
        holes[clicks.values(labels, 0)] = False
    return np.asarray(mask | holes[labels], bool)


def _hold(mask: Bool, logits: Float, clicks: Clicks, radius: int) -> Bool:
    """Undo the filter around clicks that it took back."""
    lost = clicks.values(mask, None) != (clicks.labels == 1)
    for x, y in clicks.pixels[lost]:
        patch = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
        mask[patch] = logits[patch] > 0
    return mask


def _chance(logits: Float) -> Float:
    """Probability of being inside, of logits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


@dataclass(frozen=True)
class Refiner:
    """Refines the masks of one image.

    Attributes:
        guide: see `make_guide`.
        cell: pixels of the image to a cell of the decoder's logits.
        clicks: of each object; None where there were none.
        policy: bounds.
        obeys: whether clicks are to hold. Clicks that are guesses only say which parts belong to the object.
    """

    guide: Grey
    cell: float
    clicks: Sequence[Clicks | None] = ()
    policy: Policy = POLICY
    obeys: bool = True

    def within(self, window: Window, size: tuple[int, int], step: int = 1) -> Refiner:
        """The refiner for a window of rows and columns of an image of `(H, W)`, of which every `step`th pixel is left.

        A shrunk guide is brought to the window's size: its edges stay as blunt as they are.
        """
        rows, columns = (slice(part.start, part.stop) for part in window)
        shape = (-(-(rows.stop - rows.start) // step), -(-(columns.stop - columns.start) // step))
        down, across = self.guide.shape[0] / size[0], self.guide.shape[1] / size[1]
        # Pixel centres of the result, in pixels of the guide.
        warp = np.array(
            [
                [step * across, 0, (columns.start + 0.5) * across - 0.5],
                [0, step * down, (rows.start + 0.5) * down - 0.5],
            ]
        )
        if (down, across, step) == (1.0, 1.0, 1):
            guide = self.guide[window]
        else:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            guide = np.asarray(
                cv2.warpAffine(self.guide, warp, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
            )
        clicks = [None if each is None else each.within(window).scaled(1 / step) for each in self.clicks]
        return replace(self, guide=guide, cell=self.cell / step, clicks=clicks)

    def cut(self, logits: Float, index: int) -> Bool:
        """Cut `(H, W)` logits of the image's size of the object number `index`; see `refine`."""
        clicks = self.clicks[index]
        size, small = logits.shape, self.guide.shape
        if size == small:
            return refine(logits, self.guide, self.cell, clicks, self.policy, self.obeys)
        factors = np.array([small[1] / size[1], small[0] / size[0]])
        if clicks is not None:
            clicks = clicks.scaled(factors)
        shrunk = np.asarray(cv2.resize(logits, small[::-1], interpolation=cv2.INTER_AREA), np.float32)
        mask = refine(shrunk, self.guide, self.cell * float(factors[1]), clicks, self.policy, self.obeys)
        return enlarged(mask, (size[0], size[1]))


def enlarged(mask: Bool, size: tuple[int, int]) -> Bool:
    """A mask at a larger size `(H, W)`, its edge interpolated; at its own size itself."""
    if mask.shape == size:
        return mask
    grown = cv2.resize(mask.view(np.uint8) * np.uint8(255), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown > 127, bool)
