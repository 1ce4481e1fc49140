"""J and F of the mask propagation on clips of known truth: one object, its box on the first frame.

    python benchmarks/clips.py CLIP [CLIP ...]        # folders with images/NAME.jpg and masks/NAME.png, by number
    python benchmarks/clips.py --objects data/val/ecssd --grounds data/val/coco_mini --count 6   # made from photographs
    python benchmarks/clips.py --objects data/val/ecssd --grounds data/val/coco_mini --set least_score=0.3

J is the mean IoU over the frames after the first, F the mean F-measure of the outlines, matched within .8 % of the
frame's diagonal (Perazzi et al., CVPR 2016). For comparison the J of the true box of each frame by itself. Frames in
which nothing of the object is seen do not count. Clips that are made show the object of one image moving over another,
in each way of `moved_clip.MOVES`; the last lines are means over clips, with 95 % intervals over objects.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from glesam import Predictor, Prompts
from glesam.common.arrays import Bool, Float64
from glesam.common.boxes import pixel_box
from glesam.common.seeds import generator, stable_seed
from glesam.data.base import is_kept_aside
from glesam.data.readers.folder import FolderDataset
from glesam.data.readers.registry import open_dataset
from glesam.evaluate.metrics import iou
from glesam.evaluate.report.statistics import estimate
from glesam.images.pixels import RGB
from glesam.video.propagate import MaskPropagation, Settings
from moved_clip import MOVES, MovedClip, cutouts

TOLERANCE = 0.008
WELL = 0.85
"""J of the true box from which a clip shows how well objects are followed, and not how well they are segmented."""
HEAD = "| clip | frames that count | J | F | not seen | J of the true box |\n|---|---|---|---|---|---|"

Frames = Iterable[tuple[RGB, Bool, bool]]
"""Image, truth, and whether the frame counts."""


def main() -> None:
    """Follow, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--objects", type=Path, help="set to cut objects out of")
    parser.add_argument("--grounds", type=Path, help="set whose images lie behind them")
    parser.add_argument("--count", type=int, default=6, help="objects, each of which moves in every way")
    parser.add_argument("--frames", type=int, default=40, help="of each clip that is made")
    parser.add_argument("--moves", default=",".join(MOVES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--kept-aside", action="store_true", help="count frames kept aside alone; all are followed")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="setting of the propagation")
    options = parser.parse_args()
    predictor, settings = Predictor.from_pretrained(options.model, "cpu", "off"), changed(options.set)
    print(HEAD)
    for clip in options.clips:
        row(clip.name, measured(predictor, stored(FolderDataset(clip), options.kept_aside), settings))
    if options.objects is None or options.grounds is None:
        return
    print(summary([(move, name, follow(predictor, settings, move, name, clip)) for name, move, clip in made(options)]))


def follow(predictor: Predictor, settings: Settings, move: str, name: str, clip: MovedClip) -> Float64:
    """Measure one clip that is made, and print its row."""
    found = measured(predictor, ((image, truth, True) for image, truth in clip), settings)
    row(f"{move}: {name}", found)
    return found


def summary(found: list[tuple[str, str, Float64]]) -> str:
    """Rows of means: of each way of moving, of all, and of the clips in which the true box alone does well.

    Args:
        found: way of moving, object, and what `measured` gives, of each clip.
    """
    groups = {move: [each for each in found if each[0] == move] for move in dict.fromkeys(each[0] for each in found)}
    groups |= {"all": found, f"true box at least {WELL}": [each for each in found if each[2][4] >= WELL]}
    return "\n".join(
        f"| {name}, mean of {len(each)} | {means(np.array([row for *_, row in each]), [name for _, name, _ in each])} |"
        for name, each in groups.items()
        if each
    )


def made(options: argparse.Namespace) -> Iterator[tuple[str, str, MovedClip]]:
    """Clips made from two sets: the object's name, its way of moving, and the clip."""
    objects = cutouts(open_dataset(options.objects), options.count, options.seed)
    grounds = open_dataset(options.grounds)
    behind = generator("grounds", options.seed).permutation(len(grounds))
    for move in options.moves.split(","):
        for place, sample in enumerate(objects):
            ground = grounds[int(behind[place % len(behind)])].image
            seed = stable_seed(move, sample.name, options.seed)
            yield sample.name, move, MovedClip(sample.image, sample.mask > 0, ground, MOVES[move], options.frames, seed)


def stored(data: FolderDataset, kept_aside: bool) -> Frames:
    """The frames of a folder, by the last number in their names."""
    order = sorted(data.names, key=lambda name: int((re.findall(r"\d+", name) or ["0"])[-1]))
    for name in order:
        sample = data[data.names.index(name)]
        yield sample.image, sample.mask > 0, is_kept_aside(name) or not kept_aside


def measured(predictor: Any, frames: Frames, settings: Settings | None = None) -> Float64:
    """Frames that count, J, F, share not seen, J of the true box."""
    tracker, rows = MaskPropagation(predictor, settings=settings), []
    for place, (image, truth, counts) in enumerate(frames):
        box = [float(value) for value in pixel_box(truth) or (0, 0, 1, 1)]
        if place == 0:
            tracker.start(image, Prompts(boxes=[box]))
            continue
        found = tracker.step(image).masks[0]
        if truth.any() and counts:
            alone = predictor.predict(Prompts(boxes=[box])).masks[0]
            rows.append((iou(found, truth), outline_f(found, truth), float(not found.any()), iou(alone, truth)))
    return np.array([len(rows), *np.mean(rows, axis=0)]) if rows else np.array([0.0, *[math.nan] * 4])


def row(name: str, found: Float64) -> None:
    """Print the numbers of one clip."""
    count, j, f, unseen, box = found
    print(f"| {name} | {count:.0f} | {j:.3f} | {f:.3f} | {unseen:.0%} | {box:.3f} |", flush=True)


def means(rows: Float64, objects: list[str]) -> str:
    """Means over clips, those of J, F and the true box with intervals in which objects are what is drawn."""
    count, unseen = rows[:, 0].sum(), rows[:, 3].mean()
    found = estimate(rows[:, [1, 2, 4]], objects, stable_seed("clips", 0))
    j, f, box = (f"{each.mean_objects:.3f} [{each.low_objects:.3f}, {each.high_objects:.3f}]" for each in found)
    return f"{count:.0f} | {j} | {f} | {unseen:.0%} | {box}"


def changed(words: Iterable[str]) -> Settings:
    """The settings, some of them given as NAME=VALUE."""
    values = dict(word.split("=", 1) for word in words)
    return dataclasses.replace(Settings(), **{name: ast.literal_eval(value) for name, value in values.items()})


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
