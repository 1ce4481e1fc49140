"""One line for each of many sets, and their mean: how a model does on domains that it was not made for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glesam.evaluate.report.markdown import markdown_table
from glesam.evaluate.report.summary import CellSummary

LEAST_SETS = 3


def domain_section(summaries: Sequence[CellSummary], average: str) -> str:
    """IoU / boundary IoU of each set; the last line is the mean over sets. Empty for few sets.

    Args:
        summaries: of a run.
        average: whether the `images` or the `objects` of a set count alike.
    """
    sets = list(dict.fromkeys(s.cell.set for s in summaries))
    columns = list(dict.fromkeys((s.cell.model, s.cell.level, s.cell.prompt) for s in summaries))
    if len(sets) < LEAST_SETS:
        return ""
    cells = {(s.cell.set, (s.cell.model, s.cell.level, s.cell.prompt)): _pair(s, average) for s in summaries}
    objects = {s.cell.set: s.iou.objects for s in summaries}
    rows = [[name, str(objects[name]), *(_text(cells.get((name, column))) for column in columns)] for name in sets]
    means = [np.mean([cells[name, column] for name in sets if (name, column) in cells], axis=0) for column in columns]
    rows.append(["**mean over sets**", str(sum(objects.values())), *(_text((mean[0], mean[1])) for mean in means)])
    header = ["set", "objects", *(" · ".join(column) for column in columns)]
    return f"## By set, IoU / boundary IoU, mean over {average}\n\n" + markdown_table(header, rows, 1)


def _pair(summary: CellSummary, average: str) -> tuple[float, float]:
    """IoU and boundary IoU of a cell."""
    return summary.iou.by(average)[0], summary.metrics["boundary_iou"].by(average)[0]


def _text(pair: tuple[float, float] | None) -> str:
    """Both numbers, or a dash."""
    return "–" if pair is None else f"{pair[0]:.3f} / {pair[1]:.3f}"
