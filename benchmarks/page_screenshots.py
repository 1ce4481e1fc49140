"""Take the images of the page in the docs: an example photo, a real server, a real Chromium.

Run: `python benchmarks/page_screenshots.py [--out docs/images]`; needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "serve"))

from page_driver import ROOT, Person, running_server

PHOTOS = ROOT / "examples" / "photos"
CUP_BOX = (75, 15, 470, 385)
SPOON_BOX = (318, 250, 412, 335)
CUP = (300, 180)
MAX_BYTES = 300_000
OWN_COLOURS = ("0f9d58", "d93025", "2463eb", "ffffff", "000000", "2f7df6", "0b7a43", "f2711c")
DESK: dict[str, Any] = {"viewport": {"width": 1040, "height": 720}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def box(person: Person) -> None:
    """Two objects, a box each."""
    person.drag(*CUP_BOX)
    person.page.click("#next")
    person.drag(*SPOON_BOX)


def worse(person: Person) -> None:
    """The same on a worse photo."""
    person.drag(*CUP_BOX)
    person.choose_level(3)


def compare(person: Person) -> None:
    """Both sides on a worse photo."""
    worse(person)
    person.view("compare")


def everything(person: Person) -> None:
    """All masks."""
    person.page.click("#everything")
    person.until("glesam.state.everything !== null || glesam.state.message?.kind === 'error'", 300)
    if person.page.evaluate("glesam.state.everything === null"):
        raise RuntimeError(f"everything mode gave no masks: {person.page.inner_text('#message')}")
    person.settle()


def click(person: Person) -> None:
    """One click."""
    person.click(*CUP)


CASES: dict[str, tuple[Callable[[Person], None], dict[str, Any], bool]] = {
    "page_box": (box, DESK, False),
    "page_worse": (worse, DESK, False),
    "page_compare": (compare, DESK, True),
    "page_everything": (everything, DESK | {"color_scheme": "dark"}, False),
    "page_phone": (click, PHONE, False),
}
"""Name to what is done, the window, and whether it needs an enhancer."""


def save(content: bytes, path: Path) -> None:
    """Write a screenshot in 256 colours: the page's own, which a small sign may have alone, then the photo's."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    photo = picture.quantize(256 - len(OWN_COLOURS)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*bytes.fromhex("".join(OWN_COLOURS)), *photo[: 3 * (256 - len(OWN_COLOURS))]])
    for dither in (Image.Dither.FLOYDSTEINBERG, Image.Dither.NONE):
        stream = io.BytesIO()
        picture.quantize(palette=palette, dither=dither).save(stream, "PNG", optimize=True)
        if len(stream.getvalue()) < MAX_BYTES:
            break
    path.write_bytes(stream.getvalue())
    print(f"{path}: {len(stream.getvalue())} bytes")


def main() -> None:
    """Take all images that the bundled model allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--server", help="address of a running server; one is started if left out")
    parser.add_argument("--only", choices=tuple(CASES), action="append", help="make these alone")
    options = parser.parse_args()
    if options.server:
        take(options.server, options.out, options.only or list(CASES))
        return
    with running_server() as address:
        take(address, options.out, options.only or list(CASES))


def take(address: str, out: Path, names: list[str]) -> None:
    """Take some images from a server."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names:
            act, window, needs_enhancer = CASES[name]
            context = browser.new_context(**window)
            context.add_init_script("localStorage['glesam-preview'] = 'off'")
            page = context.new_page()
            page.goto(address)
            person = Person(page)
            person.until("Boolean(globalThis.glesam?.state.server)")
            if needs_enhancer and not page.evaluate("glesam.state.server.enhancer"):
                print(f"{name}: left out, the model has no enhancer")
                continue
            person.open_file(PHOTOS / ("astronaut.jpg" if act is everything else "coffee.jpg"))
            act(person)
            page.wait_for_timeout(1500)
            page.evaluate("document.getElementById('status').style.visibility = 'hidden'")  # milliseconds of this run
            save(page.screenshot(), out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
