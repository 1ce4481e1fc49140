"""The house of glesam, read from its imports, and drawn floor by floor.

Run: `python benchmarks/house.py [--out docs/images/house.png]`; needs matplotlib (extra `evaluate`). Which room is on
which floor stands in docs/architecture.md; tests hold the code against it.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "glesam"
PLAN = ROOT / "docs" / "architecture.md"
_FLOORS = re.compile(r"^<!-- floors, lowest first -->\n```text\n(.*?)^```", re.M | re.S)


class Import(NamedTuple):
    """One module's import of another, both without `glesam.` before them."""

    importer: str
    imported: str


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """All modules but the package's own `__init__`, by dotted name below it; a sub-package by its own name."""
    found = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    named = {name.removesuffix(".__init__"): path for name, path in found.items()}
    return {name: path for name, path in named.items() if name != "__init__"}


def imports(package: Path = PACKAGE) -> set[Import]:
    """Every import of one module by another, those inside functions too; those for type checkers alone do not count."""
    known = modules(package)
    return {
        Import(name, target)
        for name, path in known.items()
        for target in _targets(ast.parse(path.read_text("utf-8")), set(known))
        if target != name
    }


def floors(plan: str | None = None) -> list[list[str]]:
    """The rooms of each floor, lowest first, as docs/architecture.md lists them."""
    match = _FLOORS.search(PLAN.read_text("utf-8") if plan is None else plan)
    if match is None:
        raise SystemExit(f"expected a list of floors in {PLAN}, found none; see `_FLOORS`")
    return [line.split("#")[0].split()[1:] for line in match[1].splitlines()]


def room_of(module: str, rooms: list[str]) -> str | None:
    """The room of the longest name that a module's name starts with."""
    return max((r for r in rooms if module == r or module.startswith(r + ".")), key=len, default=None)


def _targets(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Names of known modules that a module imports."""
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (n for alias in node.names if (n := alias.name.removeprefix("glesam.")) in known)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "glesam":
            module = (node.module or "").removeprefix("glesam").lstrip(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                if inner in known or module in known:
                    yield inner if inner in known else module


def draw(out: Path) -> None:
    """Draw the rooms on their floors, as wide as they have lines, and an arrow for each pair of rooms that imports."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plan = floors()
    rooms = [room for floor in plan for room in floor]
    lines: dict[str, int] = defaultdict(int)
    for name, path in modules().items():
        lines[room_of(name, rooms) or "?"] += len(path.read_text("utf-8").splitlines())
    figure, axes = plt.subplots(figsize=(12, 9), layout="constrained")
    places = {}
    for height, floor in enumerate(plan):
        for column, room in enumerate(floor):
            x = (column + 0.5) / len(floor)
            places[room] = (x, height)
            size = 6.5 + min(4.0, lines[room] / 700)
            box = {"boxstyle": "round,pad=0.35", "facecolor": f"C{height % 10}", "alpha": 0.25, "edgecolor": "none"}
            axes.text(x, height, f"{room}\n{lines[room]}", ha="center", va="center", fontsize=size, bbox=box, zorder=3)
    pairs = {(room_of(i.importer, rooms), room_of(i.imported, rooms)) for i in imports()}
    for upper, lower in pairs:
        if upper in places and lower in places and upper != lower:
            (x0, y0), (x1, y1) = places[upper], places[lower]
            axes.plot([x0, x1], [y0 - 0.2, y1 + 0.2], color="0.45", lw=0.5, alpha=0.4, zorder=1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(plan) - 0.3))
    axes.set_yticks(range(len(plan)), [str(n + 1) for n in range(len(plan))])
    axes.set_ylabel("floor; a line leads from a room down to one that it imports")
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "house.png")
    arguments = parser.parse_args()
    draw(arguments.out)
    print(f"{arguments.out}: {len(modules())} modules, {len(imports())} imports on {len(floors())} floors")
