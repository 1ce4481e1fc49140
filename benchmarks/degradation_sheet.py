"""Draw the contact sheet of the README: LQ-1 to LQ-3 and the real-world kinds at severity 4 on an example photo.

Run: `python benchmarks/degradation_sheet.py [--out docs/images/degradations.jpg]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glesam.degrade import lqseg, real
from glesam.draw.sheet import Tile, wrapped, write_contact_sheet
from glesam.images.reading import read

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "chelsea.jpg"


def main() -> None:
    """Degrade, lay out, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/degradations.jpg"))
    options = parser.parse_args()
    photo = read(PHOTO)
    tiles = [Tile("clear", photo)]
    tiles += [Tile(f"LQ-{n}", lqseg.degrade(photo, n, seed=2, recipe="test")) for n in (1, 2, 3)]
    tiles += [Tile(f"{kind} 4", real.degrade(photo, kind, 4, seed=1)) for kind in sorted(real.KINDS)]
    write_contact_sheet(options.out, wrapped(tiles, 4), 300)


if __name__ == "__main__":
    main()
