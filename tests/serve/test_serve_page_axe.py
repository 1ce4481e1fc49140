"""The page under axe-core, the checker of the Web Content Accessibility Guidelines: no violations in any of its states.

axe-core (MPL-2.0) is no part of the project: `npm install --no-save axe-core` in the repository's folder fetches it, or
GLESAM_AXE names an `axe.min.js`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_driver import CUP, CUP_BOX, EXAMPLE, Person
from PIL import Image

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("GLESAM_AXE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
FOUND = """axe.run().then(({ violations }) =>
  violations.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map((node) => node.html).join(' ')}`))"""


def judge(person: Person, state: str) -> None:
    """Run axe-core on what is shown now."""
    if not person.page.evaluate("'axe' in globalThis"):
        person.page.evaluate(SOURCE.read_text(encoding="utf-8"))
    found: list[Any] = person.page.evaluate(FOUND)
    assert found == [], f"{state}: {found}"


@pytest.mark.skipif(not SOURCE.is_file(), reason="axe-core is not there: npm install --no-save axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_has_a_violation(visit: Callable[..., Person], tmp_path: Path, scheme: str) -> None:
    pixels = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    files = [tmp_path / f"{number}.png" for number in (1, 2)]
    for number, path in enumerate(files):
        Image.fromarray(np.roll(pixels, number, axis=1)).save(path)
    person = visit(color_scheme=scheme)
    judge(person, "empty")
    person.page.set_input_files("#file", files)
    person.settle()
    judge(person, "several images")
    person.click(*CUP)
    judge(person, "an object and its candidates")
    person.drag(*CUP_BOX)
    person.choose_level(3)
    if person.page.evaluate("glesam.state.server.enhancer"):
        person.view("compare")
    judge(person, "compared on a worse image")
    person.page.click("#levels label:nth-child(1)")
    person.page.click("#help-open")
    judge(person, "help")
