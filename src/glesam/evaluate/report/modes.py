"""Off, on and auto side by side: what the enhancer brings where it is asked for, and how well the gate decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from glesam.evaluate.measure.model_specs import ModelSpec
from glesam.evaluate.measure.records import Row
from glesam.evaluate.report.markdown import markdown_table, with_interval
from glesam.evaluate.report.statistics import Comparison, compare
from glesam.evaluate.report.summary import by_cell, image_means

MODES = ("off", "on", "auto")


@dataclass(frozen=True)
class ModeCell:
    """One set, prompt and level, measured in all three modes.

    Attributes:
        set, prompt, level: which.
        means: IoU off, on and auto, mean over the images that all three have.
        gain: auto against off.
        regret: auto against the better of off and on for this cell: below 0 is lost by deciding wrongly.
    """

    set: str
    prompt: str
    level: str
    means: tuple[float, float, float]
    gain: Comparison
    regret: Comparison


def mode_groups(models: Sequence[ModelSpec]) -> list[dict[str, str]]:
    """Labels by mode, `off`, `on` and `auto`, of models that differ in nothing else."""
    groups: dict[ModelSpec, dict[str, str]] = {}
    for model in models:
        groups.setdefault(replace(model, enhance="", label=""), {}).setdefault(model.enhance, str(model))
    return [group for group in groups.values() if set(MODES) <= set(group)]


def mode_cells(rows: Sequence[Row], labels: dict[str, str], seed: int) -> list[ModeCell]:
    """Compare the three modes of one model in each cell.

    Args:
        rows: of the run.
        labels: the model's label by mode.
        seed: of the bootstrap.
    """
    cells = {cell: image_means(members) for cell, members in by_cell(rows).items()}
    found = []
    for cell, off in cells.items():
        others = [cells.get(cell._replace(model=labels[mode])) for mode in ("on", "auto")]
        if cell.model != labels["off"] or None in others:
            continue
        on, auto = (other or {} for other in others)
        shared = sorted(set(off) & set(on) & set(auto))
        if shared:
            values = [{name: each[name] for name in shared} for each in (off, on, auto)]
            means = [float(np.mean(list(each.values()))) for each in values]
            better = values[int(means[1] > means[0])]
            found.append(
                ModeCell(
                    cell.set,
                    cell.prompt,
                    cell.level,
                    (means[0], means[1], means[2]),
                    compare(values[0], values[2], seed),
                    compare(better, values[2], seed),
                )
            )
    return found


def mode_section(rows: Sequence[Row], models: Sequence[ModelSpec], seed: int) -> str:
    """A table a model: off, on, auto, what auto wins over off, and what it loses to the better of both; else empty."""
    parts = []
    for labels in mode_groups(models):
        cells = mode_cells(rows, labels, seed)
        if not cells:
            continue
        lines = [
            [c.set, c.prompt, c.level, str(c.gain.images), *(f"{mean:.3f}" for mean in c.means)]
            + [with_interval(r.difference, r.low, r.high) for r in (c.gain, c.regret)]
            for c in cells
        ]
        means = np.mean([[*c.means, c.gain.difference, c.regret.difference] for c in cells], axis=0)
        lines.append(
            [
                "**mean over the lines**",
                "",
                "",
                "",
                *(f"{mean:.3f}" for mean in means[:3]),
                *(f"{m:+.3f}" for m in means[3:]),
            ]
        )
        header = ["set", "prompt", "level", "images", *MODES, "auto − off", "auto − better of off and on"]
        title = f"## Off, on and auto: {labels['auto']}"
        parts.append(f"{title}\n\nIoU, mean over images.\n\n{markdown_table(header, lines, 4)}")
    return "\n\n".join(parts)
