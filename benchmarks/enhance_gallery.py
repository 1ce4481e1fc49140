"""Draw a before/after gallery: degraded example photos, segmented with the enhancer off and as the gate decides.

Run: `python benchmarks/enhance_gallery.py [--enhancer FOLDER] [--level lq3] [--out docs/images/enhance.jpg]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from glesam import Predictor
from glesam.data.base import Sample
from glesam.degrade.levels import apply, parse_level
from glesam.images.reading import read

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("coffee.jpg", {"boxes": [[75, 15, 470, 385]]}),
    ("coffee.jpg", {"points": [[250, 150], [300, 60], [200, 250]]}),
    ("chelsea.jpg", {"points": [[200, 100], [260, 150], [150, 200]]}),
)
WIDTH = 380


def panel(image: Any, prompt: dict[str, Any], title: str) -> Image.Image:
    """An image with its prompt and a title bar."""
    picture = Image.fromarray(np.asarray(image)) if not isinstance(image, Image.Image) else image.convert("RGB")
    pen = ImageDraw.Draw(picture)
    for x, y in prompt.get("points", []):
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=(80, 255, 80), outline=(0, 0, 0), width=2)
    for box in prompt.get("boxes", []):
        pen.rectangle(box, outline=(80, 255, 80), width=3)
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)))
    framed = Image.new("RGB", (WIDTH, picture.height + 24), "white")
    framed.paste(picture, (0, 24))
    ImageDraw.Draw(framed).text((6, 5), title, fill="black")
    return framed


def row(predictor: Predictor, name: str, prompt: dict[str, Any], level_name: str, seed: int) -> Image.Image:
    """Clear photo, and the degraded one without and with the enhancer."""
    clean, level = read(PHOTOS / name), parse_level(level_name)
    degraded = apply(Sample(name, clean, np.zeros(clean.shape[:2], np.int32)), level, seed).image
    panels = []
    for image, mode, title in (
        (clean, "off", "clear image, enhancer off"),
        (degraded, "off", f"{level}, enhancer off"),
        (degraded, "auto", f"{level}, enhancer auto"),
    ):
        predictor.enhance = mode
        predictor.set_image(image)
        panels.append(panel(predictor.predict(**prompt).overlay(image), prompt, title))
    strip = Image.new("RGB", (sum(p.width for p in panels), panels[0].height), "white")
    for index, each in enumerate(panels):
        strip.paste(each, (index * WIDTH, 0))
    return strip


def main() -> None:
    """Draw all cases below each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--enhancer", type=Path, help="without it the one that ships with the model")
    parser.add_argument("--level", default="lq3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/images/enhance.jpg"))
    options = parser.parse_args()
    predictor = Predictor.from_pretrained(options.model, enhancer=options.enhancer)
    rows = [row(predictor, name, prompt, options.level, options.seed) for name, prompt in CASES]
    gallery = Image.new("RGB", (rows[0].width, sum(r.height for r in rows)), "white")
    top = 0
    for each in rows:
        gallery.paste(each, (0, top))
        top += each.height
    options.out.parent.mkdir(parents=True, exist_ok=True)
    gallery.save(options.out, quality=88)


if __name__ == "__main__":
    main()
