"""Draw feature maps of clean, degraded and enhanced photos, as the paper's figure 2 does.

Run: `python benchmarks/feature_maps.py [--enhancer FOLDER] [--level lq3] [--out docs/images/features.png] [PHOTO ...]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from glesam.data.base import Sample
from glesam.degrade.levels import apply, parse_level
from glesam.enhance.bundle import load_bundle
from glesam.images.reading import read
from glesam.models.registry import bundled_enhancer, load_model
from latent_maps import draw_feature_maps, feature_row

PHOTOS = sorted((Path(__file__).parents[1] / "examples" / "photos").glob("*.jpg"))


def main() -> None:
    """Degrade, encode, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, default=PHOTOS)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--enhancer", type=Path, help="without it the one that ships with the model")
    parser.add_argument("--level", default="lq3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/images/features.png"))
    options = parser.parse_args()
    folder = options.enhancer or bundled_enhancer(options.model)
    if folder is None:
        parser.error(f"expected an enhancer for {options.model}, got none; pass --enhancer FOLDER")
    model = load_model(options.model)
    restoration = load_bundle(folder, model)
    level = parse_level(options.level)
    rows = []
    for path in options.photos:
        clean = read(path)
        sample = Sample(path.name, clean, np.zeros(clean.shape[:2], np.int32))
        degraded = apply(sample, level, options.seed).image
        rows.append(feature_row(model, restoration, clean, degraded, f"{path.stem}, {level}"))
    print(draw_feature_maps(rows, options.out))


if __name__ == "__main__":
    main()
