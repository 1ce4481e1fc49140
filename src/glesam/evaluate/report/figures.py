"""Figures of a run: IoU against level, against the number of clicks, and its density against sharpness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.draw.figures import COLOURS, LINES, MARKERS, new_figure, save, style, tidy
from glesam.evaluate.measure.records import Row
from glesam.evaluate.report.interactive import clicks_of
from glesam.evaluate.report.summary import CellSummary

_GRID = 80
_TREND_BINS = 8
_MOST_PANELS = 4
_SCALE_LEVELS = 6
_FEWEST_FOR_DENSITY = 10


def draw_figures(rows: Sequence[Row], summaries: Sequence[CellSummary], out: Path) -> list[Path]:
    """Draw every figure that a run has the data for into a folder; return their paths.

    Args:
        rows: rows of a run.
        summaries: their summaries, in the order in which levels and models are to appear.
        out: output folder.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rows, summaries = (
        [r for r in rows if not clicks_of(r.prompt)],
        [s for s in summaries if not clicks_of(s.cell.prompt)],
    )
    drawn = []
    if len({s.cell.level for s in summaries}) > 1:
        drawn.append(draw_levels(summaries, out / "iou_against_level.png"))
    if len({clicks for s in summaries if (clicks := _clicks(s.cell.prompt))}) > 1:
        drawn.append(draw_clicks(summaries, out / "iou_against_clicks.png"))
    if len({(row.set, row.level, row.image) for row in rows}) >= _FEWEST_FOR_DENSITY:
        drawn.append(draw_sharpness(rows, out / "iou_against_sharpness.png"))
    return drawn


def draw_levels(summaries: Sequence[CellSummary], path: Path) -> Path:
    """IoU (mean over images, 95 % interval) against level: a panel per set, a line per model and prompt.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    summaries = _without_many_clicks(summaries)
    sets, levels = _unique(s.cell.set for s in summaries), _unique(s.cell.level for s in summaries)
    series = _unique_pairs((s.cell.model, s.cell.prompt) for s in summaries)
    models, prompts = _unique(m for m, _ in series), _unique(p for _, p in series)
    many = len(levels) > _SCALE_LEVELS
    width = max(4.2, 0.42 * len(levels) + 1.5)
    figure, axes = new_figure(width * len(sets), 5.4 if many else 4.4, 1, len(sets), sharey=True)
    step = min(0.08, 0.4 / len(series))
    for panel, set_name in zip(axes[0], sets, strict=True):
        for index, (model, prompt) in enumerate(series):
            m, p = models.index(model), prompts.index(prompt)
            line = [s for s in summaries if s.cell[:2] == (model, set_name) and s.cell.prompt == prompt]
            places = np.array([levels.index(s.cell.level) for s in line]) + step * (index - (len(series) - 1) / 2)
            # Kinds of degradation are no scale: no line may suggest a way between them.
            line_style = "none" if many else style(p, LINES)
            _points(panel, places, line, style(m, COLOURS), line_style, style(p, MARKERS))
        panel.set_xticks(range(len(levels)), levels, rotation=90 if many else 0)
        panel.set_xlim(-0.5, len(levels) - 0.5)  # or marks of few levels would lie beside their ticks for the eye
        panel.set_title(set_name)
        panel.set_xlabel("level")
        tidy(panel)
    axes[0][0].set_ylabel("IoU, mean over images, 95 % interval")
    styles = [(p, "0.3", "none" if many else style(i, LINES), style(i, MARKERS)) for i, p in enumerate(prompts)]
    _legend_below(figure, [(m, style(i, COLOURS), "-", "") for i, m in enumerate(models)] + styles)
    return save(figure, path)


def draw_clicks(summaries: Sequence[CellSummary], path: Path) -> Path:
    """IoU (mean over images, 95 % interval) against the number of clicks: rows are sets, columns levels.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    clicked = [s for s in summaries if _clicks(s.cell.prompt)]
    sets, levels = _unique(s.cell.set for s in clicked), _unique(s.cell.level for s in clicked)
    models = _unique(s.cell.model for s in clicked)
    figure, axes = new_figure(
        3.4 * len(levels) + 0.8, 3.1 * len(sets) + 0.8, len(sets), len(levels), sharey=True, sharex=True
    )
    for row, set_name in zip(axes, sets, strict=True):
        for panel, level in zip(row, levels, strict=True):
            for m, model in enumerate(models):
                line = [s for s in clicked if s.cell[:3] == (model, set_name, level)]
                line.sort(key=lambda s: _clicks(s.cell.prompt))
                counts = np.array([_clicks(s.cell.prompt) for s in line], float)
                _band(panel, counts, line, style(m, COLOURS), style(m, MARKERS))
            panel.set_title(f"{set_name}, {level}")
            tidy(panel)
            panel.set_xticks(sorted({_clicks(s.cell.prompt) for s in clicked}))
        row[0].set_ylabel("IoU, mean over images")
    for panel in axes[-1]:
        panel.set_xlabel("number of clicks")
    _legend_below(figure, [(m, style(i, COLOURS), "-", style(i, MARKERS)) for i, m in enumerate(models)])
    return save(figure, path)


def draw_sharpness(rows: Sequence[Row], path: Path) -> Path:
    """Density of IoU against sharpness, as figure 4 of the GleSAM paper: a panel per model, for the first prompt.

    Each image at each level is one point: the mean IoU of its objects. The line is the median in bins of equally many
    images; axes and colours are the same in all panels.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    prompt, models = rows[0].prompt, _unique(row.model for row in rows)[:_MOST_PANELS]
    points = {model: _image_points([r for r in rows if (r.model, r.prompt) == (model, prompt)]) for model in models}
    low, high = _limits(np.concatenate([p[:, 0] for p in points.values()]))
    grids = {model: _density(p, low, high) for model, p in points.items()}
    top = max(float(grid.max()) for grid in grids.values())
    figure, axes = new_figure(4.4 * len(models) + 0.6, 4.2, 1, len(models), sharey=True)
    mesh: Any = None
    for panel, model in zip(axes[0], models, strict=True):
        extent = (low, high, 0.0, 1.0)
        mesh = panel.imshow(
            grids[model], origin="lower", extent=extent, aspect="auto", cmap="magma_r", vmin=0, vmax=top
        )
        panel.plot(*_trend(points[model]), color=COLOURS[0], linewidth=2, marker="o", markersize=4, label="median")
        panel.set_title(model)
        panel.set_xlabel("sharpness, log10 of variance of Laplacian")
        panel.legend(loc="lower right", frameon=True)
    axes[0][0].set_ylabel(f"IoU of an image ({prompt})")
    figure.colorbar(mesh, ax=axes[0].tolist(), label="share of images per cell, relative", ticks=[])
    return save(figure, path)


def _points(axes: Any, x: npt.NDArray[Any], line: list[CellSummary], colour: str, line_style: str, marker: str) -> None:
    """Means with their intervals as error bars, and one line with the label of all."""
    means, errors = _means(line)
    axes.errorbar(x, means, yerr=errors, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2)
    axes.plot(x, means, color=colour, linestyle=line_style, marker=marker, markersize=5)


def _band(axes: Any, x: npt.NDArray[np.float64], line: list[CellSummary], colour: str, marker: str) -> None:
    """Means as a line in a band of their intervals."""
    means, errors = _means(line)
    axes.fill_between(x, means - errors[0], means + errors[1], color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, means, color=colour, marker=marker, markersize=4)


def _means(line: list[CellSummary]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """`(n,)` means over images and `(2, n)` distances to the interval's ends; 0 where an image alone has none."""
    means = np.array([s.iou.mean_images for s in line], float)
    ends = np.array([[s.iou.low for s in line], [s.iou.high for s in line]], float)
    distances = np.abs(np.where(np.isnan(ends), means, ends) - means)
    return means, distances


def _image_points(rows: Iterable[Row]) -> npt.NDArray[np.float64]:
    """`(n, 2)`: log10 of sharpness (at least 1: a flat image has 0) and mean IoU of each image at each level."""
    ious: dict[tuple[str, str, str, float], list[float]] = {}
    for row in rows:
        ious.setdefault((row.set, row.level, row.image, row.sharpness), []).append(row.iou)
    return np.array([[np.log10(max(key[3], 1.0)), np.mean(values)] for key, values in ious.items()]).reshape(-1, 2)


def _limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Range of an axis with a margin, never empty."""
    low, high = float(values.min()), float(values.max())
    margin = max(0.05 * (high - low), 0.1)
    return low - margin, high + margin


def _density(points: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """Smoothed `(IoU, sharpness)` histogram that sums to 1; unlike a kernel estimate it is defined for equal points."""
    from scipy.ndimage import gaussian_filter

    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=_GRID, range=[[0.0, 1.0], [low, high]])
    smooth = gaussian_filter(counts, sigma=_GRID / 22, mode="reflect")
    return np.asarray(smooth / smooth.sum(), float)


def _trend(points: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Medians of sharpness and IoU in bins of equally many images."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    bins = np.array_split(ordered, max(1, min(_TREND_BINS, len(ordered) // 5)))
    return [float(np.median(b[:, 0])) for b in bins], [float(np.median(b[:, 1])) for b in bins]


def _without_many_clicks(summaries: Sequence[CellSummary]) -> list[CellSummary]:
    """Leave out click counts beyond the first three, which have a figure of their own."""
    counts = _unique(s.cell.prompt for s in summaries if _clicks(s.cell.prompt))
    shown = set(counts) if len(counts) <= 3 else {counts[0], counts[len(counts) // 2], counts[-1]}
    return [s for s in summaries if not _clicks(s.cell.prompt) or s.cell.prompt in shown]


def _clicks(prompt: str) -> int:
    """K of `points:K`; 0 for other prompts."""
    kind, _, count = prompt.partition(":")
    return int(count) if kind == "points" else 0


def _legend_below(figure: Any, entries: Sequence[tuple[str, str, str, str]]) -> None:
    """One legend for all panels, below them, in as many columns as fit; entries are label, colour, line and marker."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, linestyle=line, marker=mark, label=label) for label, c, line, mark in entries]
    widest = 0.6 + 0.095 * max(len(label) for label, *_ in entries)
    columns = max(1, min(len(entries), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _unique(names: Iterable[str]) -> list[str]:
    """Names in the order in which they first come."""
    return list(dict.fromkeys(names))


def _unique_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs in the order in which they first come."""
    return list(dict.fromkeys(pairs))
