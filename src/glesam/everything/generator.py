"""Everything mode from the image to the result: views, clicks, filters, suppression, cleaning, merging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glesam.everything.clicks import ClickMask, PointDecoder, point_grid
from glesam.everything.nms import box_nms, mask_nms
from glesam.everything.objects import Found, merge_tiles
from glesam.everything.options import Options
from glesam.everything.regions import clean
from glesam.masks.obey import Clicks
from glesam.masks.refine import DEGRADED, POLICY
from glesam.masks.runs import Box
from glesam.views.crops import crop_boxes, is_cut, tile_spans
from glesam.views.enlarge import Enlarger
from glesam.views.view import Look


@dataclass
class Generator:
    """Finds every object of one image.

    Attributes:
        options: what to look for and keep.
        size: `(H, W)` of the image.
        look: gives the view of a box.
        decoder: decodes clicks on a view.
        enhanced: whether any view so far was enhanced.
    """

    options: Options
    size: tuple[int, int]
    look: Look
    decoder: PointDecoder
    enhanced: bool = False

    def run(self) -> list[Found]:
        """All masks that remain, highest predicted IoU first."""
        found = self._tiles(self.options.tile) if self.options.tile is not None else self._layers()
        kept = mask_nms([f.mask for f in found], np.array([f.iou for f in found]), self.options.mask_nms_thresh)
        return [found[i] for i in kept.tolist()]

    def _layers(self) -> list[Found]:
        """Masks of the whole image and of its crops; where boxes agree that of the smallest crop stays."""
        options, found = self.options, []
        for layer, box in crop_boxes(self.size, options.crop_n_layers, options.crop_overlap_ratio):
            # A crop's grid has at least one point.
            side = max(1, options.points_per_side // options.crop_n_points_downscale_factor**layer)
            inside = self._view(box, side, layer)
            found += [f for f in inside if layer == 0 or not is_cut(f.mask.box, box, self.size)]
        if not options.crop_n_layers:
            return found
        order = np.array([f.layer for f in found])
        kept = box_nms(np.array([f.mask.box for f in found]), order, options.crop_nms_thresh)
        return [found[i] for i in kept.tolist()]

    def _tiles(self, tile: int) -> list[Found]:
        """Masks of all tiles, merged; and those of the whole image that are too large for a tile."""
        options, (height, width) = self.options, self.size
        ys, xs = (tile_spans(length, tile, options.tile_overlap) for length in (height, width))
        boxes = [(x0, y0, x1, y1) for y0, y1 in ys for x0, x1 in xs]
        tiles = [(box, self._view(box, options.points_per_side)) for box in boxes]
        merged = merge_tiles(tiles, options.tile_merge_thresh)
        if len(tiles) == 1:
            return merged
        overview = self._view((0, 0, width, height), options.points_per_side)
        large = [f for f in overview if max(f.mask.box[2] - f.mask.box[0], f.mask.box[3] - f.mask.box[1]) > tile]
        return merged + _unseen(large, merged, options.tile_merge_thresh)

    def _view(self, box: Box, points_per_side: int, layer: int = 0) -> list[Found]:
        """Masks of one view in the frame of the image; those with like boxes suppressed, the others cleaned."""
        view = self.look(box)
        self.enhanced = self.enhanced or view.enhanced
        points = point_grid(points_per_side, view.geometry.original_size)
        candidates = self.decoder.candidates(view, points)
        scores = np.array([c.iou for c in candidates])
        kept = box_nms(np.array([c.box for c in candidates]), scores, self.options.box_nms_thresh)
        policy = DEGRADED if view.enhanced else POLICY
        corner = (box[0], box[1])
        enlarger = Enlarger(view.geometry, self.decoder.low_size, self.size, corner, view.guide, policy)
        found = [self._found(candidates[i], enlarger, box, layer) for i in kept.tolist()]
        return [f for f in found if f.mask.area]

    def _found(self, candidate: ClickMask, enlarger: Enlarger, box: Box, layer: int) -> Found:
        """Enlarge and clean one candidate."""
        # A click of the grid asks for whatever is there: it says which part was meant, and need not hold.
        click = Clicks.of(candidate.point, 1)
        mask = enlarger.enlarge(candidate.window, candidate.corner, candidate.box, click, obeys=False)
        point = (candidate.point[0] + box[0], candidate.point[1] + box[1])
        cleaned = clean(mask, self.options.min_mask_region_area)
        return Found(cleaned, candidate.iou, candidate.stability, point, box, layer)


def _unseen(found: Sequence[Found], known: Sequence[Found], threshold: float) -> list[Found]:
    """Masks of the overview that no merged mask of the tiles, which are finer, agrees with."""
    return [f for f in found if all(f.mask.iou(k.mask) < threshold for k in known)]
