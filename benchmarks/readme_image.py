"""Draw the image at the top of the README: prompts on example images with their masks, and the cut-outs below.

Run: `python benchmarks/readme_image.py [--out docs/images/demo.jpg]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from glesam import Predictor

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("coffee.jpg", {"boxes": [[75, 15, 485, 390]]}),
    ("astronaut.jpg", {"points": [[230, 300], [90, 420], [220, 110], [420, 400]]}),
    ("chelsea.jpg", {"points": [[200, 100], [260, 150], [150, 200], [355, 255]], "labels": [1, 1, 1, 0]}),
)
HEIGHT = 270


def drawn(predictor: Predictor, name: str, prompt: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    """Segment one image; draw its masks, points and box, and its cut-out on a chessboard."""
    predictor.set_image(PHOTOS / name)
    masks = predictor.predict(**prompt)
    picture = masks.overlay(PHOTOS / name).convert("RGB")
    pen = ImageDraw.Draw(picture)
    points = prompt.get("points", [])
    for (x, y), label in zip(points, prompt.get("labels", [1] * len(points)), strict=True):
        colour = (80, 255, 80) if label else (255, 80, 80)
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=colour, outline=(0, 0, 0), width=2)
    for box in prompt.get("boxes", []):
        pen.rectangle(box, outline=(80, 255, 80), width=3)
    size = (round(picture.width * HEIGHT / picture.height), HEIGHT)
    ground = chessboard(size)
    cut = masks.cutout(PHOTOS / name, None, soft=True).resize(size)
    ground.paste(cut, mask=cut)
    return picture.resize(size), ground


def chessboard(size: tuple[int, int]) -> Image.Image:
    """The usual sign for nothing: light squares of ten pixels, `(width, height)`."""
    ys, xs = np.mgrid[: size[1], : size[0]] // 10
    return Image.fromarray(np.where((xs + ys) % 2, 255, 225).astype(np.uint8)).convert("RGB")


def main() -> None:
    """Draw all cases side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.jpg"))
    options = parser.parse_args()
    predictor = Predictor.from_pretrained("compact")
    pictures = [drawn(predictor, name, prompt) for name, prompt in CASES]
    strip = Image.new("RGB", (sum(above.width for above, _ in pictures), 2 * HEIGHT))
    left = 0
    for above, below in pictures:
        strip.paste(above, (left, 0))
        strip.paste(below, (left, HEIGHT))
        left += above.width
    strip.save(options.out, quality=85)


if __name__ == "__main__":
    main()
