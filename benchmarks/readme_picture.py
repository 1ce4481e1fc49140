"""Draw the picture at the top of the README: three prompts on two example photos.

Run: `python benchmarks/readme_picture.py [--out docs/images/demo.jpg]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from glesam import Predictor

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("coffee.jpg", {"boxes": [[75, 15, 485, 390]]}),
    ("astronaut.jpg", {"points": [[230, 300]]}),
    ("chelsea.jpg", {"points": [[200, 100], [260, 150], [150, 200]]}),
)
HEIGHT = 300


def drawn(predictor: Predictor, name: str, prompt: dict[str, Any]) -> Image.Image:
    """Segment one photo; draw its masks, points and box."""
    predictor.set_image(PHOTOS / name)
    picture = predictor.predict(**prompt).overlay(PHOTOS / name).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for x, y in prompt.get("points", []):
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=(80, 255, 80), outline=(0, 0, 0), width=2)
    for box in prompt.get("boxes", []):
        pen.rectangle(box, outline=(80, 255, 80), width=3)
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT))


def main() -> None:
    """Draw all cases side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.jpg"))
    options = parser.parse_args()
    predictor = Predictor.from_pretrained("compact")
    pictures = [drawn(predictor, name, prompt) for name, prompt in CASES]
    strip = Image.new("RGB", (sum(p.width for p in pictures), HEIGHT))
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width
    strip.save(options.out, quality=88)


if __name__ == "__main__":
    main()
