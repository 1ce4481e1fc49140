"""Corrective clicks summed up: IoU after some of them, and how many a target takes (NoC)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glesam.evaluate.measure.clicks import clicks_needed
from glesam.evaluate.measure.records import Row
from glesam.evaluate.report.markdown import markdown_table

SHOWN = (1, 3, 5, 10, 20)
"""Clicks after which tables give the IoU; the CSV has all."""

TARGETS = (0.85, 0.90)
KIND = "clicks:"


def clicks_of(prompt: str) -> int:
    """K of `clicks:K`; 0 for another prompt."""
    return int(prompt.removeprefix(KIND)) if prompt.startswith(KIND) else 0


def shown(prompts: Sequence[str]) -> list[str]:
    """Prompts that tables have a row for: all but the clicks between those of `SHOWN`; the last click stays."""
    most = max(map(clicks_of, prompts), default=0)
    return [p for p in prompts if not clicks_of(p) or clicks_of(p) in SHOWN or clicks_of(p) == most]


def interactive_section(rows: Sequence[Row]) -> str:
    """One line for each model, set and level; empty without corrective clicks. All are means over objects."""
    series: dict[tuple[str, str, str], dict[tuple[str, int], dict[int, Row]]] = {}
    for row in rows:
        if clicks_of(row.prompt):
            objects = series.setdefault((row.model, row.set, row.level), {})
            objects.setdefault((row.image, row.object_id), {})[clicks_of(row.prompt)] = row
    if not series:
        return ""
    most = max(number for objects in series.values() for each in objects.values() for number in each)
    counts = [count for count in SHOWN if count < most] + [most]
    header = ["model", "set", "level", "objects", *(f"after {n}" for n in counts)]
    header += [f"NoC@{round(100 * target)}" for target in TARGETS]
    table = [[*place, str(len(objects)), *_values(list(objects.values()), counts)] for place, objects in series.items()]
    text = (
        f"IoU / boundary IoU after so many clicks, and clicks until an IoU is reached, at most {most} (an object that "
        "does not reach it counts so many). Each click is at the centre of the largest error (RITM's rule), the "
        "previous logits are fed back. Means over objects."
    )
    return f"## Corrective clicks\n\n{text}\n\n" + markdown_table(header, table, 3)


def _values(objects: list[dict[int, Row]], counts: Sequence[int]) -> list[str]:
    """IoU after clicks, and NoC, of objects with their rows by number of clicks."""
    cells = []
    for count in counts:
        pairs = [(each[count].iou, each[count].boundary_iou) for each in objects if count in each]
        iou, boundary = np.mean(pairs, axis=0)
        cells.append(f"{iou:.3f} / {boundary:.3f}")
    for target in TARGETS:
        needed = [clicks_needed([each[n].iou for n in sorted(each)], target) for each in objects]
        cells.append(f"{np.mean(needed):.2f}")
    return cells
