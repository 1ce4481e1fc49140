"""Measured numbers beside the paper's: sections of a report for the sets, levels and prompts that both have."""

from __future__ import annotations

from glesam.evaluate.report.markdown import markdown_table
from glesam.evaluate.report.paper import (
    AVERAGE,
    LQ_MEAN,
    PaperNumber,
    canonical_set,
    matching,
    paper_numbers,
    paper_source,
)
from glesam.evaluate.report.summary import CellSummary, LevelMeans, level_means

CAUTION = (
    "The paper's numbers were measured on its own degraded copies of the full sets, with its own prompts; compare "
    "orders and gaps, not digits."
)
_LQ_LEVELS = {"lq1", "lq2", "lq3"}


def paper_sections(summaries: list[CellSummary]) -> list[str]:
    """One Markdown section per set and prompt that the paper has too; empty when there is none."""
    sections = []
    for set_name, prompt in dict.fromkeys((s.cell.set, s.cell.prompt) for s in summaries):
        mine = [s for s in summaries if (s.cell.set, s.cell.prompt) == (set_name, prompt)]
        levels = [level for level in _levels(mine) if matching(set_name, level, prompt)]
        if levels:
            sections.append(f"### {set_name}, {prompt}\n\n{_table(mine, levels)}")
    sections += _mean_sections(summaries)
    if sections:
        sections.insert(0, f"## Beside the paper (IoU / Dice)\n\n{paper_source()}. {CAUTION}")
    return sections


def _table(summaries: list[CellSummary], levels: list[str]) -> str:
    """The paper's methods, then the measured models, one column per level."""
    cell = summaries[0].cell
    numbers = {level: matching(cell.set, level, cell.prompt) for level in levels}
    methods = dict.fromkeys((n.table, n.method) for found in numbers.values() for n in found)
    rows = []
    for table, method in methods:
        by_level = {n.level: n for found in numbers.values() for n in found if (n.table, n.method) == (table, method)}
        rows.append([method, _place(next(iter(by_level.values()))), *(_paper_cell(by_level.get(x)) for x in levels)])
    for model in dict.fromkeys(s.cell.model for s in summaries):
        mine = {s.cell.level: s for s in summaries if s.cell.model == model}
        rows.append([f"**{model}**", "measured", *(_measured_cell(mine.get(level)) for level in levels)])
    return markdown_table(["method", "from", *levels], rows, 2)


def _mean_sections(summaries: list[CellSummary]) -> list[str]:
    """Table 5, where the run has its two sets, all its levels and its prompt; else nothing."""
    wanted = {(name, level) for name in ("ECSSD", "COCO") for level in ("clear", *_LQ_LEVELS)}
    mine = [s for s in summaries if s.cell.prompt == "points:3" and (canonical_set(s.cell.set), s.cell.level) in wanted]
    if not wanted <= {(canonical_set(s.cell.set), s.cell.level) for s in mine}:
        return []
    columns = (LQ_MEAN, "clear", AVERAGE)
    numbers = {(n.method, n.level): n for n in paper_numbers("table5")}
    rows = [
        [method, "paper, table 5", *(_paper_cell(numbers.get((method, level))) for level in columns)]
        for method in dict.fromkeys(method for method, _ in numbers)
    ]
    rows += [[f"**{means.model}**", "measured", *_mean_cells(means)] for means in level_means(mine)]
    return ["### ECSSD and COCO, points:3, means\n\n" + markdown_table(["method", "from", *columns], rows, 2)]


def _mean_cells(means: LevelMeans) -> list[str]:
    """Degraded, clear and average of one model."""
    pairs = [(means.degraded, means.degraded_dice), (means.clear, means.clear_dice)]
    values = [(iou, dice) for iou, dice in pairs if iou is not None and dice is not None]
    values.append((sum(iou for iou, _ in values) / len(values), sum(dice for _, dice in values) / len(values)))
    return [f"{iou:.4f} / {dice:.4f}" for iou, dice in values]


def _levels(summaries: list[CellSummary]) -> list[str]:
    """Levels in the order in which they come."""
    return list(dict.fromkeys(s.cell.level for s in summaries))


def _place(number: PaperNumber) -> str:
    """Where a number stands in the paper."""
    table = number.table.replace("table", "table ")
    return f"paper, {table}" + (", prompt not stated" if number.prompt is None else "")


def _paper_cell(number: PaperNumber | None) -> str:
    """One of the paper's cells, or a dash."""
    return "–" if number is None else f"{number.iou:.4f} / {number.dice:.4f}"


def _measured_cell(summary: CellSummary | None) -> str:
    """One measured cell with as many digits, or a dash."""
    if summary is None:
        return "–"
    return f"{summary.iou.mean_images:.4f} / {summary.metrics['dice'].mean_images:.4f}"
