"""The study as an image: how far each variant is from the base, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gain import Measured, shared_means
from glesam.common.seeds import stable_seed
from glesam.evaluate.report.statistics import compare

COLOURS = ("#4a6fa5", "#c1666b", "#48a9a6", "#d4b483", "#7d5a8c", "#5b8e55")


def draw(grouped: Mapping[str, Measured], titles: Mapping[str, str], level: str, out: Path, seed: int = 0) -> None:
    """Difference of IoU from the base at one level, 95 % intervals, a panel for each set and prompt.

    All variants of a panel are compared on the photos that each has; one that was not measured there has no mark.

    Args:
        grouped: measurements by variant; the first is the base.
        titles: what each variant is.
        level: of degradation.
        out: image to write.
        seed: of the bootstrap.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    base, *others = grouped
    panels = [(name, prompt) for name, prompt, found in grouped[base] if found == level]
    figure = Figure(figsize=(4.5 + 2.6 * len(panels), 0.8 + 0.26 * len(others)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    letters = sorted({key[0] for key in others})
    for axis, (name, prompt) in zip(axes, panels, strict=True):
        means = shared_means(grouped, (name, prompt, level))
        for row, key in enumerate(others):
            if not means.get(key):
                continue
            found = compare(means[base], means[key], stable_seed("study", seed))
            colour = COLOURS[letters.index(key[0]) % len(COLOURS)]
            axis.plot([found.low, found.high], [row, row], color=colour, linewidth=2)
            axis.plot(found.difference, row, "o", color=colour, markersize=5)
        axis.axvline(0, color="0.5", linewidth=1)
        axis.set(title=f"{name}, {prompt}", xlabel=f"IoU above the base at {level}")
        axis.grid(axis="x", color="0.9")
    axes[0].set_yticks(range(len(others)), [f"{titles[key]}  ({key})" for key in others], fontsize=8)
    axes[0].invert_yaxis()
    figure.savefig(out, dpi=100)
