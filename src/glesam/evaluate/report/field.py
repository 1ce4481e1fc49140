"""Results as the field prints them: IoU by size of the object, and beside the numbers that others published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from glesam.common.documents import parse_json
from glesam.evaluate.measure.records import Row
from glesam.evaluate.report.markdown import markdown_table
from glesam.evaluate.report.summary import Cell, by_cell

SIZES = (("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, None))
"""COCO's sizes: name, and the object's area in pixels of the image from (included) and to (excluded)."""


@dataclass(frozen=True)
class Published:
    """What a paper or a repository states of a model; IoU are means over objects.

    Attributes:
        model: its name.
        iou: of all objects.
        parameters: millions, or None where the source does not say.
        small: IoU of objects under 32 x 32 pixels, or None.
        medium: of those under 96 x 96.
        large: of the others.
        note: what a reader must know.
    """

    model: str
    iou: float
    parameters: float | None = None
    small: float | None = None
    medium: float | None = None
    large: float | None = None
    note: str = ""


@lru_cache(maxsize=1)
def published() -> tuple[str, tuple[Published, ...]]:
    """The protocol, and the numbers measured by it, best first; part of the package."""
    content = parse_json(files("glesam.evaluate.report").joinpath("published.json").read_bytes(), "published.json")
    return content["protocol"], tuple(Published(**each) for each in content["numbers"])


def mean_iou_by_size(rows: Iterable[Row]) -> dict[str, tuple[float, int]]:
    """Mean IoU over objects, and their number, of all (key `all`) and of each of COCO's sizes that occurs."""
    ious = np.array([(row.area, row.iou) for row in rows], float).reshape(-1, 2)
    found = {"all": ious[:, 1]}
    for name, low, high in SIZES:
        found[name] = ious[(ious[:, 0] >= low) & (ious[:, 0] < (np.inf if high is None else high)), 1]
    return {name: (float(values.mean()), len(values)) for name, values in found.items() if len(values)}


def size_section(rows: Sequence[Row]) -> str:
    """IoU by size of every cell, mean over objects; empty where all objects have one size."""
    table = []
    for cell, members in by_cell(rows).items():
        means = mean_iou_by_size(members)
        table.append([cell.model, cell.set, cell.prompt, cell.level, *(_sized(means.get(n)) for n, _, _ in SIZES)])
    if all(sum(text != "–" for text in row[4:]) < 2 for row in table):
        return ""
    header = ["model", "set", "prompt", "level", *(f"IoU, {name} (objects)" for name, _, _ in SIZES)]
    return "## By size of the object, mean over objects\n\n" + markdown_table(header, table, 4)


def published_section(rows: Sequence[Row], shares: dict[str, float]) -> str:
    """Measured models among the published ones, for sets of COCO asked with tight boxes; empty without one.

    Args:
        rows: of a run.
        shares: smallest object by set, as a share of the image; the protocol leaves none out.
    """
    mine = {cell: members for cell, members in by_cell(rows).items() if _same_protocol(cell, shares)}
    if not mine:
        return ""
    protocol, numbers = published()
    lines = [(n.iou, [n.model, _plain(n.parameters, 1), _plain(n.iou), *_sizes(n), n.note]) for n in numbers]
    for cell, members in mine.items():
        means = mean_iou_by_size(members)
        sizes = [_plain(means[name][0]) if name in means else "–" for name, _, _ in SIZES]
        note = f"measured: {cell.set}, {len({row.image for row in members})} images, {means['all'][1]} objects"
        lines.append((means["all"][0], [f"**{cell.model}**", "–", _plain(means["all"][0]), *sizes, note]))
    header = ["model", "million parameters", "IoU", "S", "M", "L", "note"]
    rows_text = [text for _, text in sorted(lines, key=lambda line: -line[0])]
    return f"## Beside published numbers\n\n{protocol}.\n\n" + markdown_table(header, rows_text, 1)


def _same_protocol(cell: Cell, shares: dict[str, float]) -> bool:
    """Whether a cell was measured as the published numbers were."""
    return (
        (cell.prompt, cell.level) == ("box", "clear") and cell.set.lower().startswith("coco") and not shares[cell.set]
    )


def _sizes(number: Published) -> list[str]:
    """The columns of the three sizes."""
    return [_plain(value) for value in (number.small, number.medium, number.large)]


def _sized(value: tuple[float, int] | None) -> str:
    """A mean with the number of its objects."""
    return "–" if value is None else f"{value[0]:.3f} ({value[1]})"


def _plain(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"
