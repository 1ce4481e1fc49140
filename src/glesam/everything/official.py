"""Everything mode as segment-anything's `SamAutomaticMaskGenerator` does it: the same masks in the same order.

The usual way (`generator`) judges masks at the decoder's resolution, suppresses by masks besides boxes,
and cleans what is left, which is faster. This one enlarges every mask first, as the authors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.everything.clicks import PointDecoder, point_grid
from glesam.everything.nms import box_nms
from glesam.everything.objects import Found
from glesam.everything.options import Options
from glesam.masks.runs import Box, RunMask
from glesam.views.crops import crop_boxes, is_cut
from glesam.views.view import View

ENLARGED_FLOATS = 2**26
"""Floats (256 MiB) of enlarged logits held at once."""


@dataclass
class OfficialGenerator:
    """Finds every object of one image; takes the same as `Generator`.

    Attributes:
        options: what to look for and keep; `mask_nms_thresh` and the tiles' settings are ignored.
        size: `(H, W)` of the image.
        look: gives the view of a box.
        decoder: decodes clicks on a view.
        enhanced: whether any view so far was enhanced.
    """

    options: Options
    size: tuple[int, int]
    look: Callable[[Box], View]
    decoder: PointDecoder
    enhanced: bool = False

    def run(self) -> list[Found]:
        """All masks that remain, in the authors' order."""
        options, found = self.options, []
        for layer, box in crop_boxes(self.size, options.crop_n_layers, options.crop_overlap_ratio):
            found += self._view(box, layer)
        if options.crop_n_layers:
            areas = [(f.view[2] - f.view[0]) * (f.view[3] - f.view[1]) for f in found]
            found = _suppressed(found, 1 / np.array(areas, np.float64), options.crop_nms_thresh)
        return self._cleaned(found) if options.min_mask_region_area else found

    def _view(self, box: Box, layer: int) -> list[Found]:
        """Masks of one view in the frame of the image, those with like boxes suppressed, highest score first."""
        options, view = self.options, self.look(box)
        self.enhanced = self.enhanced or view.enhanced
        side = int(options.points_per_side / options.crop_n_points_downscale_factor**layer)
        points = point_grid(side, view.geometry.original_size)
        found = self.decoder.in_batches(points, lambda batch: list(self._batch(view, batch, box, layer)))
        return _suppressed(found, np.array([f.iou for f in found]), options.box_nms_thresh)

    @torch.inference_mode()
    def _batch(self, view: View, points: npt.NDArray[np.float32], box: Box, layer: int) -> Iterator[Found]:
        """Decode some clicks; the masks that pass the filters, in the order of clicks and candidates."""
        logits, ious = self.decoder.answers(view, points)
        clicks = np.repeat(points, ious.shape[1], axis=0)
        logits, ious = logits.flatten(0, 1), ious.flatten()
        likely = _passing(ious, self.options.pred_iou_thresh, strict=True)
        height, width = view.geometry.original_size
        step = max(1, ENLARGED_FLOATS // (height * width + view.geometry.image_size**2))  # by way of the square
        for start in range(0, len(likely), step):
            part = likely[start : start + step]
            whole = view.geometry.restore(logits[part, None])[:, 0]
            stability = stability_scores(whole, self.options.stability_score_offset)
            for index in _passing(stability, self.options.stability_score_thresh).tolist():
                click, inside = clicks[int(part[index])], (whole[index] > 0).cpu().numpy()
                mask = RunMask.from_array(inside, self.size, box[0], box[1])
                if mask.area and not is_cut(mask.box, box, self.size):
                    at = (float(click[0]) + box[0], float(click[1]) + box[1])
                    yield Found(mask, float(ious[part[index]]), float(stability[index]), at, box, layer, like=True)

    def _cleaned(self, found: list[Found]) -> list[Found]:
        """Small regions taken out, then suppressed once more; masks that needed no cleaning go before the others."""
        least = self.options.min_mask_region_area
        cleaned, unchanged = [], []
        for each in found:
            inside, filled = without_small_regions(each.mask.to_array(), least, holes=True)
            inside, cleared = without_small_regions(inside, least, holes=False)
            changed = filled or cleared
            cleaned.append(replace(each, mask=RunMask.from_array(inside, self.size, 0, 0)) if changed else each)
            unchanged.append(float(not changed))
        threshold = max(self.options.box_nms_thresh, self.options.crop_nms_thresh)
        return _suppressed(cleaned, np.array(unchanged), threshold)


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """`(M,)` float32: areas cut at `+offset` by those cut at `-offset`; nan where there is neither."""
    inner, outer = ((logits > cut).flatten(1).sum(dim=1, dtype=torch.int32) for cut in (offset, -offset))
    return inner / outer


def without_small_regions(inside: npt.NDArray[np.bool_], least: int, holes: bool) -> tuple[npt.NDArray[np.bool_], bool]:
    """Fill holes, or remove islands, of fewer than `least` pixels; of islands that are all small the largest stays.

    A hole is any 8-connected region outside the mask, also at the image's edge.

    Returns:
        The mask, and whether anything was done.
    """
    count, regions, stats, _ = cv2.connectedComponentsWithStats((inside ^ holes).astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(areas < least) + 1
    if not len(small):
        return inside, False
    if holes:
        return inside | np.isin(regions, small), True
    kept = np.setdiff1d(np.arange(1, count), small)
    return np.isin(regions, kept if len(kept) else [int(np.argmax(areas)) + 1]), True


def official_box(mask: RunMask) -> tuple[float, float, float, float]:
    """`(x0, y0, x1, y1)` with the last column and row themselves, not what comes after them, as the authors measure."""
    x0, y0, x1, y1 = mask.box
    return float(x0), float(y0), float(x1 - 1), float(y1 - 1)


def _suppressed(found: list[Found], scores: npt.NDArray[np.float64], threshold: float) -> list[Found]:
    boxes = np.array([official_box(f.mask) for f in found])
    return [found[i] for i in box_nms(boxes, scores, threshold).tolist()]


def _passing(scores: Tensor, threshold: float, strict: bool = False) -> Tensor:
    """Indices of scores above (or at) a threshold; a threshold of 0 lets everything pass."""
    if threshold <= 0:
        return torch.arange(len(scores), device=scores.device)
    return torch.nonzero(scores > threshold if strict else scores >= threshold)[:, 0]
