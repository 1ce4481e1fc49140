"""Amodal masks where the truth is known: objects of other images are laid over the main things of images.

Run: `python benchmarks/amodal.py DATA --occluders DATA [--limit N] [--prompted] [--figure FILE]`. DATA holds `images/`
and `masks/`; all that is not 0 in a mask of the first is the main thing. Neither set should be one that the network was
trained on. Each object is completed twice, with something laid over 5 to 70 % of it and as it is. Prints means over
objects with 95 % intervals: IoU of whole objects and of their hidden parts, for the network, for the visible part alone
and for its convex hull; and how much is added to objects of which nothing is hidden.

Visible parts are the true ones; with `--prompted` they are the bundled model's, by the true box of the visible part.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from glesam import Predictor
    from glesam.data.base import SegmentationDataset
    from glesam.train.feed.occluded import OccludedScene

_TRIES = 50
_MIN_PIXELS = 400
SHOWN = 12


@dataclass(frozen=True)
class Row:
    """One object.

    Attributes:
        values: IoU of the whole object by network, visible part and hull; of the hidden part by network and hull; share
            of the object that is hidden.
        added: what the network adds to the object with nothing over it, as a share of its area.
    """

    values: tuple[float, ...]
    added: float


def hull(mask: Any) -> Any:
    """Convex hull of an `(H, W)` mask, filled."""
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return filled > 0


def iou(one: Any, other: Any) -> float:
    """IoU of two masks; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def hide(image: Any, whole: Any, others: SegmentationDataset, rng: np.random.Generator) -> OccludedScene | None:
    """Lay any object of another set over an object; None where no try fits."""
    from glesam.train.feed.occluded import cut_out, occlude

    for _ in range(_TRIES):
        sample = others[int(rng.integers(len(others)))]
        ids, areas = np.unique(sample.mask[sample.mask > 0], return_counts=True)
        ids = ids[areas >= _MIN_PIXELS]
        if len(ids):
            scene = occlude(image, whole, cut_out(sample.image, sample.mask == int(rng.choice(ids))), rng)
            if scene is not None and scene.visible.any():
                return scene
    return None


def completed(predictor: Predictor, image: Any, visible: Any, prompted: bool) -> tuple[Any, Any]:
    """The visible part and the whole object that come out."""
    from glesam.common.boxes import pixel_box

    predictor.set_image(image)
    masks = predictor.complete(predictor.predict(boxes=pixel_box(visible)) if prompted else visible)
    return masks.masks[0], masks.whole.masks[0]


def measured(scene: OccludedScene, seen: Any, found: Any) -> tuple[float, ...]:
    """See `Row.values`."""
    hidden, convex = scene.whole & ~scene.visible, hull(seen) if seen.any() else seen
    return (
        iou(found, scene.whole),
        iou(seen, scene.whole),
        iou(convex, scene.whole),
        iou(found & ~seen, hidden),
        iou(convex & ~seen, hidden),
        float(hidden.sum() / scene.whole.sum()),
    )


def drawn(scene: OccludedScene, seen: Any, found: Any) -> Any:
    """A scene with what was seen in green, what was guessed in pink, and the outline of what is hidden in yellow."""
    canvas = scene.image.copy()
    for part, colour in ((seen, (0, 255, 0)), (found & ~seen, (255, 0, 255))):
        canvas[part] = canvas[part] // 2 + np.array(colour, np.uint8) // 2
    hidden = (scene.whole & ~scene.visible).astype(np.uint8)
    canvas[(hidden - cv2.erode(hidden, np.ones((3, 3), np.uint8))) > 0] = (255, 255, 0)
    return cv2.resize(canvas, (300, 240), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--occluders", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompted", action="store_true")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()

    from glesam import Predictor
    from glesam.data.readers.registry import open_dataset

    predictor = Predictor.from_pretrained("compact")
    data, others = open_dataset(str(options.data)), open_dataset(str(options.occluders))
    rng = np.random.default_rng(options.seed)
    rows, pictures = [], []
    for index in np.linspace(0, len(data) - 1, min(options.limit, len(data))).astype(int).tolist():
        sample = data[index]
        whole = sample.mask > 0
        scene = hide(sample.image, whole, others, rng) if np.count_nonzero(whole) >= _MIN_PIXELS else None
        if scene is None:
            continue
        seen, found = completed(predictor, scene.image, scene.visible, options.prompted)
        before, after = completed(predictor, sample.image, whole, options.prompted)
        rows.append(Row(measured(scene, seen, found), float((after & ~before).sum() / max(1, before.sum()))))
        if len(pictures) < SHOWN:
            pictures.append(drawn(scene, seen, found))
    report(rows)
    if options.figure is not None:
        lines = [np.concatenate(pictures[i : i + 4], axis=1) for i in range(0, len(pictures) // 4 * 4, 4)]
        cv2.imwrite(str(options.figure), np.concatenate(lines)[:, :, ::-1])


def report(rows: list[Row]) -> None:
    """Print the table."""
    from glesam.evaluate.report.statistics import estimate

    values = np.array([(*row.values, row.added, row.added > 0.01) for row in rows])
    found = [
        f"{e.mean_images:.3f} [{e.low:.3f}, {e.high:.3f}]"
        for e in estimate(values, [str(i) for i in range(len(rows))], 0)
    ]
    print(f"{len(rows)} objects, {100 * values[:, 5].mean():.0f} % of each hidden on average\n")
    print("| | whole object, IoU | hidden part, IoU |\n|---|---|---|")
    print(f"| network | {found[0]} | {found[3]} |\n| visible part alone | {found[1]} | 0 |")
    print(f"| convex hull | {found[2]} | {found[4]} |\n")
    print(f"nothing hidden: {found[6]} of the object's area added; more than 1 % to {found[7]} of the objects")


if __name__ == "__main__":
    main()
