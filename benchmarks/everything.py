"""Everything mode on a folder of photos with known objects: recall, masks and seconds for each photo.

Run: `python benchmarks/everything.py DATA [--photos 20] [--threads 2] [--model compact] [--points-per-side 16 24]`.
DATA holds `images/` and `masks/` (ids). Prints a Markdown table, a row for each grid. An object counts as recalled if
any mask has an IoU of at least 0.5 with it; objects below 1 % of the image are left out. Recall is over all objects
together. Seconds include encoding, not reading.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glesam import Predictor
    from glesam.data.base import Sample

MIN_SHARE, MIN_IOU = 0.01, 0.5


def evenly(count: int, most: int) -> list[int]:
    """At most so many of `count` indices, spread evenly."""
    import numpy as np

    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(most, count)).round())]


def measure(predictor: Predictor, sample: Sample, points_per_side: int) -> tuple[int, int, int, float]:
    """Objects recalled, objects, masks and seconds for one photo."""
    from glesam.data.base import object_ids
    from glesam.masks.runs import RunMask

    predictor.reset()
    start = time.perf_counter()
    predictor.set_image(sample.image)
    masks = predictor.generate(points_per_side=points_per_side)
    seconds = time.perf_counter() - start
    truths = [RunMask.from_array(sample.mask == i) for i in object_ids(sample.mask, MIN_SHARE)]
    recalled = sum(any(truth.iou(runs) >= MIN_IOU for runs in masks.runs) for truth in truths)
    return recalled, len(truths), len(masks), seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=20, help="spread evenly over the sorted names")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--enhance", default="auto")
    parser.add_argument("--points-per-side", type=int, nargs="+", default=[16])
    options = parser.parse_args()

    import torch

    from glesam import Predictor
    from glesam.data.readers.folder import FolderDataset

    torch.set_num_threads(options.threads)
    data = FolderDataset(options.data)
    chosen = evenly(len(data), options.photos)
    predictor = Predictor.from_pretrained(options.model, enhance=options.enhance)
    measure(predictor, data[chosen[0]], 4)  # the first call of a process is slower
    print(
        f"{options.model}, {options.threads} threads, {len(chosen)} photos of {data.name}, enhance {options.enhance}\n"
    )
    print("| points a side | objects | recall at IoU 0.5 | masks a photo | median s a photo | slowest s |")
    print("|---|---|---|---|---|---|")
    for points in options.points_per_side:
        rows = [measure(predictor, data[i], points) for i in chosen]
        recalled, objects, masks, seconds = zip(*rows, strict=True)
        recall = f"{sum(recalled) / sum(objects):.3f}" if sum(objects) else "no objects"
        times = f"{statistics.median(seconds):.2f} | {max(seconds):.2f}"
        print(f"| {points} | {sum(objects)} | {recall} | {statistics.mean(masks):.1f} | {times} |")


if __name__ == "__main__":
    main()
