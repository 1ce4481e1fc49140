"""`like="segment-anything"` against the authors' steps written out plainly, pixel by pixel and pair by pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from models_tiny import sam_tiny
from scipy import ndimage

from glesam.errors import ConfigError
from glesam.everything.clicks import MemoryWarning
from glesam.everything.official import without_small_regions
from glesam.everything.options import Options
from glesam.models.base import Embedding, MaskOutput, PromptTensors
from glesam.models.sam.sam import SamPromptable
from glesam.predict.predictor import Predictor
from glesam.views.crops import crop_boxes, is_cut

IMAGE = np.random.default_rng(3).integers(0, 256, (110, 150, 3), np.uint8)
THRESHOLDS = {"pred_iou_thresh": 0.1, "stability_score_thresh": 0.35, "box_nms_thresh": 0.9, "crop_nms_thresh": 0.8}


class Blobs(SamPromptable):
    """Answers every click with ragged blobs around it, of three sizes, with scores that differ from click to click."""

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        assert multimask
        assert prompts.point_coords is not None
        x, y = prompts.point_coords[0, :, 0].double().unbind(-1)
        size = torch.arange(3).double()
        column = torch.arange(16) * 4.0 + 2
        gx, gy = column.view(1, 1, 1, 16), column.view(1, 1, 16, 1)
        radius = 5 + 7 * size + 3 * torch.sin(x + 2 * y)[:, None]
        distance = ((gx - x.view(-1, 1, 1, 1)) ** 2 + (gy - y.view(-1, 1, 1, 1)) ** 2).sqrt()
        noise = 3 * torch.sin(gx * 0.9 + x.view(-1, 1, 1, 1)) * torch.cos(gy * 1.1)
        iou = torch.sin(x[:, None] * 12.9 + y[:, None] * 78.2 + size) * 0.4 + 0.5
        logits = radius[..., None, None] - distance + noise
        return MaskOutput(logits.float()[None], iou.float()[None])


@pytest.fixture(scope="module")
def model() -> SamPromptable:
    return Blobs(sam_tiny(3))


def inclusive_box(mask: np.ndarray) -> list[float]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max(), ys.max()]


def suppress(rows: list[dict[str, Any]], scores: list[float], threshold: float) -> list[dict[str, Any]]:
    """torchvision's `nms` in words: from the best on, drop what overlaps a kept one by more than the threshold."""
    kept: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: -scores[i]):
        a = rows[index]["box"]
        for other in kept:
            b = rows[other]["box"]
            w, h = max(0, min(a[2], b[2]) - max(a[0], b[0])), max(0, min(a[3], b[3]) - max(a[1], b[1]))
            areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
            if w * h > threshold * (areas - w * h) and w * h:
                break
        else:
            kept.append(index)
    return [rows[i] for i in kept]


def crops_of(height: int, width: int, layers: int) -> list[tuple[int, tuple[int, int, int, int]]]:
    found = [(0, (0, 0, width, height))]
    for layer in range(layers):
        n = 2 ** (layer + 1)
        overlap = int(512 / 1500 * min(height, width) * (2 / n))
        w, h = (math.ceil((overlap * (n - 1) + side) / n) for side in (width, height))
        xs, ys = ([int((side - overlap) * i) for i in range(n)] for side in (w, h))
        boxes = [(x0, y0, min(x0 + w, width), min(y0 + h, height)) for x0 in xs for y0 in ys]
        found += [(layer + 1, box) for box in boxes]
    return found


@torch.no_grad()
def everything(model: SamPromptable, side: int, layers: int) -> list[dict[str, Any]]:
    height, width = IMAGE.shape[:2]
    rows: list[dict[str, Any]] = []
    for _, (x0, y0, x1, y1) in crops_of(height, width, layers):
        pixels, geometry = model.preprocess(IMAGE[y0:y1, x0:x1])
        embedding, inside_crop = model.encode(pixels), []
        for cell in range(side * side):
            point = [(cell % side + 0.5) / side * (x1 - x0), (cell // side + 0.5) / side * (y1 - y0)]
            coords = geometry.to_input(torch.tensor([[[point]]]))
            output = model.decode(embedding, PromptTensors(coords, torch.ones(1, 1, 1, dtype=torch.long)), True)
            whole = geometry.restore(output.low_res_logits[0])[0].numpy()
            for logits, iou in zip(whole, output.iou[0, 0].tolist(), strict=True):
                inner, outer = (logits > 1.0).sum(), (logits > -1.0).sum()
                if iou <= THRESHOLDS["pred_iou_thresh"] or not outer or inner / outer < 0.35 or not (logits > 0).any():
                    continue
                mask = np.zeros((height, width), bool)
                mask[y0:y1, x0:x1] = logits > 0
                box = inclusive_box(mask)
                near = np.isclose(box, [x0, y0, x1, y1], atol=20, rtol=0)
                if (near & ~np.isclose(box, [0, 0, width, height], atol=20, rtol=0)).any():
                    continue
                crop = [x0, y0, x1 - x0, y1 - y0]
                at = [point[0] + x0, point[1] + y0]
                inside_crop.append({"mask": mask, "box": box, "iou": iou, "at": at, "crop": crop, "st": inner / outer})
        rows += suppress(inside_crop, [r["iou"] for r in inside_crop], THRESHOLDS["box_nms_thresh"])
    if layers:
        rows = suppress(rows, [1 / (r["crop"][2] * r["crop"][3]) for r in rows], THRESHOLDS["crop_nms_thresh"])
    return rows


def regions_out(rows: list[dict[str, Any]], least: int) -> list[dict[str, Any]]:
    eight = np.ones((3, 3), int)
    for row in rows:
        mask = row["mask"].copy()
        labels, count = ndimage.label(~mask, eight)
        for region in range(1, count + 1):
            if (labels == region).sum() < least:
                mask[labels == region] = True
        labels, count = ndimage.label(mask, eight)
        sizes = [(labels == region).sum() for region in range(1, count + 1)]
        if min(sizes) < least:
            big = [i + 1 for i, size in enumerate(sizes) if size >= least] or [int(np.argmax(sizes)) + 1]
            mask = np.isin(labels, big)
        row["same"] = float(np.array_equal(mask, row["mask"]))
        row["mask"], row["box"] = mask, inclusive_box(mask)
    return suppress(rows, [r["same"] for r in rows], max(THRESHOLDS["box_nms_thresh"], THRESHOLDS["crop_nms_thresh"]))


@pytest.mark.parametrize(("layers", "least"), [(0, 0), (1, 0), (0, 40), (1, 40)])
def test_the_authors_set_in_the_authors_order(model: SamPromptable, layers: int, least: int) -> None:
    expected = everything(model, 4, layers)
    if least:
        expected = regions_out(expected, least)
    predictor = Predictor(model)
    predictor.set_image(IMAGE)
    settings = {"points_per_side": 4, "crop_n_layers": layers, "min_mask_region_area": least, **THRESHOLDS}
    found = predictor.generate(like="segment-anything", **settings)
    assert len(expected) > 5
    assert len(found) == len(expected)
    for mask, row, want in zip(found.masks, found.to_coco(), expected, strict=True):
        assert np.array_equal(mask, want["mask"])
        x0, y0, x1, y1 = want["box"]
        assert row["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert row["crop_box"] == want["crop"]
        assert row["point_coords"][0] == pytest.approx(want["at"], abs=1e-4)
        assert row["predicted_iou"] == pytest.approx(want["iou"], abs=1e-5)
        assert row["stability_score"] == pytest.approx(want["st"], abs=1e-6)


def test_crops_are_the_authors() -> None:
    for size in ((110, 150), (427, 640), (64, 64), (1080, 1920)):
        assert list(crop_boxes(size, 2, 512 / 1500)) == crops_of(*size, 2)
    # 20 pixels from an inner edge are near, 21 are not; near the image's own edge nothing is cut.
    view, size = (100, 0, 200, 150), (150, 300)
    assert [is_cut((x, 40, 160, 90), view, size) for x in (100, 120, 121)] == [True, True, False]
    assert [is_cut((130, 40, x, 90), view, size) for x in (201, 181, 180)] == [True, True, False]
    assert not is_cut((130, 0, 160, 150), view, size)


def test_defaults_are_the_authors() -> None:
    options = Options.parse({"like": "segment-anything"})
    assert (options.points_per_side, options.pred_iou_thresh, options.stability_score_thresh) == (32, 0.88, 0.95)
    assert (options.min_mask_region_area, options.crop_n_layers, options.box_nms_thresh) == (0, 0, 0.7)
    assert options.mask_nms_thresh == 1.0, "off: no IoU is above 1"
    assert Options.parse({"like": "segment-anything", "points_per_side": 8}).points_per_side == 8
    for bad in ({"like": "sam"}, {"like": "segment-anything", "tile": 128}):
        with pytest.raises(ConfigError, match="expected like of segment-anything"):
            Options.parse(bad)


def test_largest_island_stays() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1, 1] = mask[5:7, 5] = True
    inside, changed = without_small_regions(mask, 5, holes=False)
    assert changed
    assert inside.sum() == 2
    assert inside[5, 5]


def test_batches_are_whole_chunks_and_halved_when_memory_runs_out(
    model: SamPromptable, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(model)
    predictor.set_image(IMAGE)
    settings = {"points_per_side": 5, "like": "segment-anything", **THRESHOLDS}
    expected = predictor.generate(**settings).encode(".json")
    decode, sizes = Blobs.decode, []

    def limited(self: Blobs, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        count = prompts.shape[1]
        if most is not None and count > most:
            raise MemoryError
        sizes.append(count)
        return decode(self, embedding, prompts, multimask)

    monkeypatch.setattr(Blobs, "decode", limited)
    most = None
    assert predictor.generate(points_per_batch=10, **settings).encode(".json") == expected
    assert set(sizes) == {8}
    most = 3
    sizes.clear()
    with pytest.warns(MemoryWarning, match="memory ran out"):
        assert len(predictor.generate(**settings)) > 5
    assert max(sizes) <= 3
