"""The picture of `docs/segment.md` on amodal masks: a cat of one example photo before the cup of another.

Run: `python benchmarks/amodal_image.py [docs/images/amodal.jpg]`. From left to right: the two laid over one another,
with the box that is asked for; the overlay that `glesam segment --amodal` writes; the pixels in the whole cup's mask;
and the cup as the model masks it with nothing before it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "examples" / "photos"
CUP, CAT = (75, 15, 470, 385), (75, 20, 400, 299)
PLACE, SCALE = (20, 30), 0.6
"""Upper left corner `(x, y)` of the cat in the image of the cup, and its size."""


def main() -> None:
    """Draw and write."""
    from glesam import Predictor
    from glesam.common.boxes import pixel_box
    from glesam.images.reading import read

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "amodal.jpg"
    predictor = Predictor.from_pretrained("compact")
    cup, cat = read(PHOTOS / "coffee.jpg"), read(PHOTOS / "chelsea.jpg")
    predictor.set_image(cat)
    laid, cat_mask = over(cup, cat, predictor.predict(boxes=CAT).masks[0])
    predictor.set_image(cup)
    true = predictor.predict(boxes=CUP).masks[0]
    box = pixel_box(true & ~cat_mask)
    predictor.set_image(laid)
    masks = predictor.complete(predictor.predict(boxes=box))
    asked = laid.copy()
    cv2.rectangle(asked, box[:2], box[2:], (255, 255, 255), 3)
    whole = np.where(masks.whole.masks[0][..., None], laid, np.uint8(255))
    marked = np.where(true[..., None], cup, np.uint8(255))
    parts = [asked, np.asarray(masks.overlay(laid)), whole, marked]
    picture = np.concatenate([cv2.resize(part, (450, 300), interpolation=cv2.INTER_AREA) for part in parts], axis=1)
    cv2.imwrite(str(target), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def over(image: np.ndarray, other: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay an object of another image over an image, at `PLACE` and `SCALE`; and what it covers, `(H, W)` bool."""
    size = (round(mask.shape[1] * SCALE), round(mask.shape[0] * SCALE))
    pixels = cv2.resize(other, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    (x, y), (height, width) = PLACE, image.shape[:2]
    rows, columns = slice(y, min(height, y + size[1])), slice(x, min(width, x + size[0]))
    part = np.s_[: rows.stop - y, : columns.stop - x]
    weight = np.zeros(image.shape[:2], np.float32)
    weight[rows, columns] = share[part]
    canvas = image.astype(np.float32)
    canvas[rows, columns] += (pixels[part] - canvas[rows, columns]) * share[part][..., None]
    return canvas.round().astype(np.uint8), weight > 0.5


if __name__ == "__main__":
    main()
