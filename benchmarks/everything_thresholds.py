"""Everything mode's thresholds: recall and number of masks of every combination, from one look at each image.

Run: `python benchmarks/everything_thresholds.py DATA... [--images 60] [--points-per-side 16] [--masks 40 50 60]`.
Each DATA holds `images/` and `masks/` (ids); take training images, since what is chosen here is part of the product.
All candidates of an image are had once; then each combination of `pred_iou_thresh`, `stability_score_thresh`,
`box_nms_thresh` and `mask_nms_thresh` is played through on them. Prints a Markdown table: for each number of masks
given, the combinations of at most so many masks an image that find most, and the defaults. Recall is over all objects
of at least 1 % of their image, at an IoU of 0.5 and as the mean over 0.5, 0.55 ... 0.95. Boxes are compared after
cleaning, in pixels, in the product before it, in cells: check what is chosen with `everything.py`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import track

from everything import MIN_IOU, MIN_SHARE, evenly
from glesam.common.arrays import Bool, Float64, Int

if TYPE_CHECKING:
    from glesam import Predictor
    from glesam.data.base import Sample
    from glesam.masks.runs import RunMask

CUTS = np.arange(0.5, 0.951, 0.05)
LOWEST_IOU = 0.1
Setting = tuple[float, ...]
Result = tuple[float, float, float]
GRID = {
    "pred_iou_thresh": (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6),
    "stability_score_thresh": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "box_nms_thresh": (0.7, 0.8, 0.85, 0.9, 0.95, 1.0),
    "mask_nms_thresh": (0.5, 0.6, 0.7, 0.8, 0.9),
}


@dataclass(frozen=True)
class Candidates:
    """Everything that one image's clicks gave, best predicted IoU first.

    Attributes:
        ious: `(N,)` predicted IoU.
        stability: `(N,)`.
        boxes_alike: `(N, N)` IoU of boxes.
        masks_alike: `(N, N)` IoU of masks.
        truths: `(N, K)` IoU with each object.
    """

    ious: Float64
    stability: Float64
    boxes_alike: Float64
    masks_alike: Float64
    truths: Float64

    def kept(self, pred_iou: float, stability: float, box_nms: float, mask_nms: float) -> Int:
        """Indices of what remains with these thresholds."""
        left = np.flatnonzero((self.ious >= pred_iou) & (self.stability >= stability))
        return suppressed(suppressed(left, self.boxes_alike > box_nms), self.masks_alike > mask_nms)


def suppressed(order: Int, alike: Bool) -> Int:
    """Of candidates in order, those that are not like a better one that stays."""
    gone, kept = np.zeros(len(alike), bool), []
    for index in order.tolist():
        if not gone[index]:
            kept.append(index)
            gone |= alike[index]
    return np.array(kept, np.int64)


def look(predictor: Predictor, sample: Sample, points_per_side: int) -> Candidates:
    """All candidates of one image and what they are like."""
    from glesam.data.base import object_ids
    from glesam.everything.nms import box_iou
    from glesam.masks.runs import RunMask

    predictor.reset()
    predictor.set_image(sample.image)
    masks = predictor.generate(
        points_per_side=points_per_side,
        pred_iou_thresh=LOWEST_IOU,
        stability_score_thresh=0,
        box_nms_thresh=1,
        mask_nms_thresh=1,
    )
    truths = [RunMask.from_array(sample.mask == i) for i in object_ids(sample.mask, MIN_SHARE)]
    boxes = np.array([run.box for run in masks.runs], np.float64).reshape(-1, 4)
    boxes_alike = np.array([box_iou(box, boxes) for box in boxes]).reshape(len(boxes), len(boxes))
    return Candidates(
        np.asarray(masks.scores, np.float64),
        np.array([detail["stability_score"] for detail in masks.details], np.float64),
        boxes_alike,
        masks_alike(masks.runs, boxes_alike),
        np.array([[truth.iou(run) for truth in truths] for run in masks.runs]).reshape(len(masks.runs), len(truths)),
    )


def masks_alike(runs: Sequence[RunMask], boxes_alike: Float64) -> Float64:
    """`(N, N)` IoU of masks, measured where boxes overlap and areas leave room for the lowest threshold."""
    areas = np.array([run.area for run in runs], np.float64)
    low = min(GRID["mask_nms_thresh"])
    alike = np.eye(len(runs))
    for i, j in np.argwhere(np.triu(boxes_alike > 0, 1)).tolist():
        if min(areas[i], areas[j]) > low * max(areas[i], areas[j]):
            alike[i, j] = alike[j, i] = runs[i].iou(runs[j])
    return alike


def play(images: list[Candidates], setting: Setting) -> Result:
    """Masks an image, recall at 0.5 and mean recall of one combination."""
    best, masks = [], 0
    for image in images:
        kept = image.kept(*setting)
        masks += len(kept)
        best.append(image.truths[kept].max(axis=0, initial=0))
    values = np.concatenate(best)
    return (
        masks / len(images),
        float((values >= MIN_IOU).mean()),
        float(np.mean([(values >= cut).mean() for cut in CUTS])),
    )


def look_at(sets: list[Path], images: int, points_per_side: int) -> list[Candidates]:
    """The candidates of so many images of each set."""
    from glesam import Predictor
    from glesam.data.readers.folder import FolderDataset

    predictor = Predictor.from_pretrained("compact")
    found = []
    for data in map(FolderDataset, sets):
        chosen = track(evenly(len(data), images), description=data.name)
        found += [look(predictor, data[i], points_per_side) for i in chosen]
    return found


def report(results: dict[Setting, Result], default: Setting, most: list[float], best: int) -> str:
    """The defaults and, for each number of masks, the combinations that find most, as a Markdown table."""
    shown = [default]
    for limit in most:
        fit = [setting for setting, (masks, _, _) in results.items() if masks <= limit]
        for column in (2, 1):
            shown += sorted(fit, key=lambda setting: -results[setting][column])[:best]
    names = " | ".join(GRID)
    lines = [f"| {names} | masks an image | recall at 0.5 | mean recall |", "|" + "---|" * (len(GRID) + 3)]
    for setting in dict.fromkeys(shown):
        masks, recall, mean = results[setting]
        values = " | ".join(f"{value:g}" for value in setting)
        lines.append(f"| {values} | {masks:.1f} | {recall:.3f} | {mean:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Look at the images, play all combinations through, print the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=60, help="of each set, spread evenly over the sorted names")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--masks", type=float, nargs="+", default=[40.0, 50.0, 60.0])
    parser.add_argument("--best", type=int, default=3, help="combinations shown for each number of masks")
    options = parser.parse_args()

    from glesam.everything.options import Options

    images = look_at(options.data, options.images, options.points_per_side)
    default = tuple(float(getattr(Options(), name)) for name in GRID)
    settings = {default, *itertools.product(*GRID.values())}
    results = {setting: play(images, setting) for setting in track(sorted(settings), description="combinations")}
    every = np.concatenate([image.truths.max(axis=0, initial=0) for image in images])
    print(f"{len(images)} images, {len(every)} objects, {(every >= MIN_IOU).mean():.3f} of them among all candidates\n")
    print(report(results, default, options.masks, options.best))


if __name__ == "__main__":
    main()
