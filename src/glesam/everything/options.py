"""The settings of everything mode, in the vocabulary of segment-anything's automatic mask generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from glesam.common.settings import validated
from glesam.errors import ConfigError
from glesam.views.crops import check_tile

Share = Annotated[float, Field(ge=0, le=1)]
LIKE: dict[str, dict[str, Any]] = {
    "segment-anything": {
        "points_per_side": 32,
        "pred_iou_thresh": 0.88,
        "stability_score_thresh": 0.95,
        "box_nms_thresh": 0.7,
        "mask_nms_thresh": 1.0,
        "min_mask_region_area": 0,
    }
}
"""Generators whose masks and order can be had, and their defaults where ours differ."""


class Options(BaseModel):
    """What everything mode looks for and keeps.

    The thresholds are for the compact model, chosen on 30 of its training images of COCO and looked at again on 60 of
    BSDS500 (`benchmarks/everything_thresholds.py`): of 448 regions of at least 1 % it finds 63 % with 55 masks an image
    (79 % lie among all candidates); half as many masks find 55 to 58 %. A box threshold of .7, as SAM has it, drops
    things whose boxes agree but whose masks do not. SAM is surer of itself: .88 and .95.

    Attributes:
        points_per_side: n of the n x n grid of clicks in each view (image, crop or tile).
        points_per_batch: clicks whose answers are held at once; changes memory, never the result.
        pred_iou_thresh: masks below this predicted IoU go, 0 to 1.
        stability_score_thresh: masks below this stability go, 0 to 1; measured at the decoder's resolution, with `like`
            at the image's (see `official.stability_scores`).
        stability_score_offset: by how much, in logits, the cut is moved up and down to measure stability.
        box_nms_thresh: of two masks of one view whose boxes have a larger IoU, the one with the higher score stays.
        mask_nms_thresh: the same for the IoU of the masks themselves, over the whole image.
        crop_n_layers: layers of crops besides the whole image, for small objects: layer i has 2^i x 2^i crops.
        crop_nms_thresh: IoU of boxes above which a mask of a smaller crop replaces that of a larger one.
        crop_overlap_ratio: overlap of the first layer's crops as a share of the image's shorter side.
        crop_n_points_downscale_factor: each further layer has this many times fewer points a side.
        min_mask_region_area: holes and islands of fewer pixels of the image are cleaned away; 0 keeps all.
        tile: side in pixels of square tiles for a big image, or None to look at the whole image at once.
        tile_overlap: share of a tile's side that it shares with the next one, above 0 and at most 0.5.
        tile_merge_thresh: masks of neighbouring tiles are one object from this IoU in the shared strip on.
        like: "segment-anything" gives the masks of its `SamAutomaticMaskGenerator` in its order, with its defaults and
            its boxes; see `official`. None is our own way.

    Raises:
        ConfigError: a value that is out of its range, or tiles together with crops.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    points_per_side: int = Field(default=16, ge=1)
    points_per_batch: int = Field(default=64, ge=1)
    pred_iou_thresh: Share = 0.25
    stability_score_thresh: Share = 0.1
    stability_score_offset: float = Field(default=1.0, gt=0)
    box_nms_thresh: Share = 0.9
    mask_nms_thresh: Share = 0.7
    crop_n_layers: int = Field(default=0, ge=0)
    crop_nms_thresh: Share = 0.7
    crop_overlap_ratio: float = Field(default=512 / 1500, ge=0, lt=1)
    crop_n_points_downscale_factor: int = Field(default=1, ge=1)
    min_mask_region_area: int = Field(default=100, ge=0)
    tile: int | None = None
    tile_overlap: float = Field(default=0.25, gt=0, le=0.5)
    tile_merge_thresh: Share = 0.5
    like: str | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.like is not None and (self.like not in LIKE or self.tile is not None):
            raise ConfigError(
                f"expected like of {', '.join(LIKE)}, without tile, got like={self.like!r} and tile={self.tile}; leave "
                "one of them out"
            )
        check_tile(self.tile)
        if self.tile is not None and self.crop_n_layers:
            raise ConfigError(
                f"expected tile or crop_n_layers, got tile={self.tile} and crop_n_layers={self.crop_n_layers}; "
                "tiles are crops already: give a smaller tile for smaller objects"
            )
        return self

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Options:
        """Make options from keyword arguments.

        Raises:
            ConfigError: an unknown name, with the nearest known one, or a bad value.
        """
        values = {**LIKE.get(str(settings.get("like")), {}), **settings}
        return validated(cls, values, "setting of everything mode")
