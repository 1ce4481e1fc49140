"""Masks of what a training set leaves unlabelled, by the model itself: a set to train on beside the labelled ones.

Run: `python benchmarks/pseudo_masks.py DATA OUT [--model compact] [--images 4000] [--part 0/2]`.
DATA holds `images/` and `masks/` (ids); so does OUT afterwards: links to the images, and masks with the labelled
objects under their ids and what was found beside them under new ones. That is the half-automatic stage of SAM's data
engine (Kirillov et al., ICCV 2023, section 4), without a person: everything mode finds candidates at single clicks; one
stays if the model, given its box, answers with nearly the same mask. Images with nothing found are left out. What is
in OUT already is kept, so that the run can be stopped and begun again; `--part I/N` takes each N-th image, for N
processes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.progress import track

from everything import evenly
from glesam.common.arrays import Bool
from glesam.common.boxes import pixel_box
from glesam.data.base import Sample, object_ids

if TYPE_CHECKING:
    from glesam import Predictor

LEAST, MOST = 0.004, 0.6
"""Shares of the image that a mask may have."""
ALIKE = 0.8
"""IoU of a candidate with the answer to its box from which on both mean the same thing."""
SHARED = 0.1
"""Share of a mask that may lie on another one."""
OBJECTS, BOXES = 8, 24
SETTINGS = {
    "points_per_side": 10,
    "pred_iou_thresh": 0.45,
    "stability_score_thresh": 0.35,
    "box_nms_thresh": 0.8,
    "mask_nms_thresh": 0.6,
}


def beside(known: Bool, masks: Bool) -> list[int]:
    """Indices of those of `(N, H, W)` masks that have a fit size and lie beside what is known `(H, W)`."""
    areas = masks.sum(axis=(1, 2))
    shared = (masks & known).sum(axis=(1, 2))
    fits = (areas >= LEAST * known.size) & (areas <= MOST * known.size)
    return np.flatnonzero(fits & (shared <= SHARED * np.minimum(areas, max(1, known.sum())))).tolist()


def found_beside(predictor: Predictor, sample: Sample) -> list[Bool]:
    """Masks `(H, W)` of unlabelled things, the surest first, hardly any pixel in two of them."""
    predictor.reset()
    predictor.set_image(sample.image)
    candidates = predictor.generate(**SETTINGS).masks
    known = sample.mask > 0
    candidates = candidates[beside(known, candidates)[:BOXES]]
    if not len(candidates):
        return []
    answers = predictor.predict(boxes=np.array([pixel_box(mask) for mask in candidates]), multimask=False)
    same = (candidates & answers.masks).sum(axis=(1, 2)) / (candidates | answers.masks).sum(axis=(1, 2))
    chosen: list[Bool] = []
    for index in np.argsort(-same, kind="stable").tolist():
        mask = answers.masks[index]
        if same[index] >= ALIKE and (mask & known).sum() <= SHARED * mask.sum() and len(chosen) < OBJECTS:
            chosen.append(mask & ~known)
            known = known | mask
    return chosen


def label(predictor: Predictor, sample: Sample, file: Path, out: Path) -> None:
    """Put one image and its masks into the new set, or a note that nothing was found; what is there stays."""
    target, nothing = out / "masks" / f"{sample.name}.png", out / "nothing" / sample.name
    if target.exists() or nothing.exists():
        return
    found = found_beside(predictor, sample)
    if not found:
        nothing.touch()
        return
    ids = sample.mask.astype(np.uint16)
    for number, mask in enumerate(found, max(object_ids(sample.mask), default=0) + 1):
        ids[mask] = number
    link = out / "images" / file.name
    link.unlink(missing_ok=True)
    link.symlink_to(file)
    cv2.imwrite(str(target), ids)  # last: an image without a mask is done again


def main() -> None:
    """Label the images one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--images", type=int, default=4000, help="spread evenly over the sorted names")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th image from the I-th on")
    options = parser.parse_args()

    from glesam import Predictor
    from glesam.data.readers.folder import FolderDataset

    data = FolderDataset(options.data)
    part, parts = (int(number) for number in options.part.split("/"))
    predictor = Predictor.from_pretrained(options.model, enhance="off")
    files = {path.stem: path.resolve() for path in (options.data / "images").iterdir()}
    for folder in ("images", "masks", "nothing"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    for i in track(evenly(len(data), options.images)[part::parts], description=data.name):
        label(predictor, data[i], files[data.names[i]], options.out)


if __name__ == "__main__":
    main()
