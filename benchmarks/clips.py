"""J and F of the mask propagation on clips of known truth: one object, its box on the first frame.

    python benchmarks/clips.py CLIP [CLIP ...]        # folders with images/NAME.jpg and masks/NAME.png, by number

J is the mean IoU over the frames after the first, F the mean F-measure of the outlines, matched within .8 % of the
frame's diagonal (Perazzi et al., CVPR 2016). For comparison the J of the true box of each frame by itself.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from glesam import Predictor, Prompts
from glesam.common.boxes import pixel_box
from glesam.data.base import is_kept_aside
from glesam.data.readers.folder import FolderDataset
from glesam.evaluate.metrics import iou
from glesam.video.propagate import MaskPropagation

Bool = npt.NDArray[np.bool_]
TOLERANCE = 0.008


def main() -> None:
    """Follow, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--kept-aside", action="store_true", help="count frames kept aside alone; all are followed")
    options = parser.parse_args()
    predictor = Predictor.from_pretrained(options.model, "cpu", "off")
    print("| clip | frames that count | J | F | not seen | J of the true box |\n|---|---|---|---|---|---|")
    for clip in options.clips:
        print(
            f"| {clip.name} | {' | '.join(measured(predictor, FolderDataset(clip), options.kept_aside))} |", flush=True
        )


def measured(predictor: Predictor, data: FolderDataset, kept_aside: bool) -> list[str]:
    """The numbers of one clip."""
    order = sorted(range(len(data)), key=lambda index: int((re.findall(r"\d+", data.names[index]) or ["0"])[-1]))
    tracker, rows = MaskPropagation(predictor), []
    for place, index in enumerate(order):
        sample = data[index]
        truth: Bool = sample.mask > 0
        box = [float(value) for value in pixel_box(truth) or (0, 0, 1, 1)]
        if place == 0:
            tracker.start(sample.image, Prompts(boxes=[box]))
            continue
        found = tracker.step(sample.image).masks[0]
        alone = predictor.predict(boxes=[box]).masks[0]
        if truth.any() and (is_kept_aside(data.names[index]) or not kept_aside):
            rows.append((iou(found, truth), outline_f(found, truth), float(not found.any()), iou(alone, truth)))
    means = np.mean(rows, axis=0)
    return [str(len(rows)), *(f"{means[column]:.3f}" for column in (0, 1)), f"{means[2]:.0%}", f"{means[3]:.3f}"]


def outline_f(found: Bool, truth: Bool) -> float:
    """F-measure of the outlines of two `(H, W)` masks."""
    if not found.any() or not truth.any():
        return float(found.any() == truth.any())
    radius = math.ceil(TOLERANCE * math.hypot(*truth.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ours, theirs = (outline(mask) for mask in (found, truth))
    near = [cv2.dilate(mask, disc) > 0 for mask in (ours, theirs)]
    precision, recall = (ours[near[1]].sum() / ours.sum(), theirs[near[0]].sum() / theirs.sum())
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def outline(mask: Bool) -> npt.NDArray[np.uint8]:
    """Pixels of a mask that touch what is outside, as 0 and 1; the frame's edge does not count."""
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return np.asarray(mask.astype(np.uint8) - inner, np.uint8)


if __name__ == "__main__":
    main()
