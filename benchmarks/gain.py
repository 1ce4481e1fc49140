"""What an enhancer wins and where it hurts, from a finished `glesam evaluate` of a base model without and with it.

```
glesam evaluate --levels clear,lq1,lq2,lq3 --models compact@enhance=off,compact@enhance=auto ... --out evaluation/
python benchmarks/gain.py evaluation/ [--figure gain.png]
```

Prints three Markdown tables and, with `--figure`, draws each photo's IoU with the enhancer against that without it.

Gap closed: `(with - without) / (clear - without)`, all on the same photos; clear is the base model on the clear photo.
Differences are tested by paired bootstrap over photos. A photo counts as better or worse from 0.05 IoU on.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from glesam.common.seeds import stable_seed
from glesam.evaluate.measure.records import Row, from_csv
from glesam.evaluate.report.statistics import compare
from glesam.evaluate.report.summary import by_cell, image_means

CLEAR = "clear"
NOTICEABLE = 0.05
SIZES = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
"""Shares of the photo between which objects are put together."""

Means = dict[str, float]
Cell = tuple[str, str, str]
Measured = dict[Cell, list[Row]]


def cells(rows: Iterable[Row]) -> Measured:
    """Rows of one model by (set, prompt, level)."""
    return {(cell.set, cell.prompt, cell.level): members for cell, members in by_cell(rows).items()}


def gap_closed(base: Means, model: Means, clear: Means) -> float | None:
    """Share of what degradation costs the base model that another wins back; None where nothing was lost."""
    shared = sorted(set(base) & set(model) & set(clear))
    if not shared:
        return None
    before, after, top = (sum(values[name] for name in shared) / len(shared) for values in (base, model, clear))
    return (after - before) / (top - before) if top > before else None


def shared_means(grouped: Mapping[str, Measured], cell: Cell) -> dict[str, Means]:
    """Means of those models that were measured in a cell, on the photos that all of them have."""
    measured = {key: image_means(found[cell]) for key, found in grouped.items() if found.get(cell)}
    shared = set.intersection(*map(set, measured.values())) if measured else set()
    return {key: {name: means[name] for name in sorted(shared)} for key, means in measured.items()}


def mean(values: Means) -> float:
    """Mean over photos."""
    return sum(values.values()) / len(values)


def better_and_worse(base: Means, model: Means) -> tuple[float, float]:
    """Share of photos that are noticeably better, and worse, than with the base model."""
    differences = [model[name] - base[name] for name in base]
    return (
        sum(d >= NOTICEABLE for d in differences) / len(differences),
        sum(d <= -NOTICEABLE for d in differences) / len(differences),
    )


def line(base: Measured, model: Measured, cell: Cell, seed: int = 0) -> str:
    """One row of the table."""
    mine, theirs = image_means(base[cell]), image_means(model[cell])
    edges = [mean(image_means(measured[cell], "boundary_iou")) for measured in (base, model)]
    gap = gap_closed(mine, theirs, image_means(base.get((*cell[:2], CLEAR), [])))
    found, (better, worse) = compare(mine, theirs, stable_seed("gain", seed)), better_and_worse(mine, theirs)
    return (
        f"| {' | '.join(cell)} | {mean(mine):.3f} | {mean(theirs):.3f} | {found.difference:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}], p {found.p_value:.4f} | "
        f"{'–' if gap is None or cell[2] == CLEAR else f'{gap:.0%}'} | {edges[0]:.3f} | {edges[1]:.3f} | "
        f"{better:.0%} | {worse:.0%} |"
    )


def table(base: Measured, model: Measured, seed: int = 0) -> str:
    """All (set, prompt, level) that both were measured on."""
    head = ["set", "prompt", "level", "without", "with", "difference", "gap closed", "boundary IoU without", "with"]
    head += ["photos better", "worse"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [line(base, model, cell, seed) for cell in base if cell in model])


def by_size(base: Measured, model: Measured, seed: int = 0) -> str:
    """IoU by prompt, level and share of the photo that objects cover, over all sets; means of photos count once."""
    head = ["prompt", "level", "object, % of the image", "photos", "without", "with", "difference"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for prompt, level in dict.fromkeys((prompt, level) for _, prompt, level in model):
        for low, high in itertools.pairwise(SIZES):
            mine, theirs = (_of_size(measured, prompt, level, low, high) for measured in (base, model))
            if mine and theirs:
                found = compare(mine, theirs, stable_seed("gain", seed))
                interval = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
                cell = f"{prompt} | {level} | {100 * low:g} to {100 * high:g}"
                lines.append(f"| {cell} | {len(mine)} | {mean(mine):.3f} | {mean(theirs):.3f} | {interval} |")
    return "\n".join(lines)


def _of_size(measured: Measured, prompt: str, level: str, low: float, high: float) -> Means:
    """Means over each photo's objects of a range of sizes; photos of all sets, told apart by the set's name."""
    means: Means = {}
    for (name, asked, at), rows in measured.items():
        if (asked, at) == (prompt, level):
            fitting = [row for row in rows if low <= row.area_share and (row.area_share < high or high == 1)]
            means |= {f"{name}/{image}": value for image, value in image_means(fitting).items()}
    return means


def hurt(base: Measured, model: Measured, count: int) -> str:
    """The photos that lose most, worst first."""
    losses = []
    for cell, rows in model.items():
        mine, theirs = image_means(base.get(cell, [])), image_means(rows)
        losses += [(theirs[name] - mine[name], cell, name) for name in mine if name in theirs]
    worst = sorted(losses)[:count]
    lines = [f"| {' | '.join(cell)} | {name} | {loss:+.3f} |" for loss, cell, name in worst]
    return "\n".join(["| set | prompt | level | photo | difference |", "|" + "---|" * 5, *lines])


def draw(base: Measured, model: Measured, out: Path) -> None:
    """Each photo as a dot, one image for each set and prompt, the worst level in front."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((name, prompt) for name, prompt, _ in model))
    levels = [level for level in dict.fromkeys(level for _, _, level in model) if level != CLEAR]
    figure = Figure(figsize=(4.2 * len(panels), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, prompt) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, level in enumerate(levels):
            mine, theirs = (image_means(measured.get((name, prompt, level), [])) for measured in (base, model))
            names = sorted(set(mine) & set(theirs))
            colour = ("#7fb8d8", "#e0a13c", "#b3364a")[number % 3]
            axis.scatter([mine[n] for n in names], [theirs[n] for n in names], s=7, color=colour, label=level)
        axis.plot([0, 1], [0, 1], color="0.4", linewidth=1)
        axis.set(
            title=f"{name}, {prompt}", xlabel="IoU without the enhancer", ylabel="with it", xlim=(0, 1), ylim=(0, 1)
        )
        axis.set_aspect("equal")
    figure.axes[0].legend(loc="lower right", frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)


def main() -> None:
    """Print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="folder that `glesam evaluate` wrote")
    parser.add_argument("--base", default="compact@enhance=off")
    parser.add_argument("--model", default="compact@enhance=auto")
    parser.add_argument("--figure", type=Path, help="where to draw the scatter plots")
    parser.add_argument("--worst", type=int, default=10, help="photos to list that lose most")
    options = parser.parse_args()
    rows = from_csv(options.report / "per_object.csv")
    base, model = (cells(row for row in rows if row.model == name) for name in (options.base, options.model))
    for name, found in ((options.base, base), (options.model, model)):
        if not found:
            parser.error(f"expected rows of {name}, got models {sorted({row.model for row in rows})}")
    print(f"{table(base, model)}\n\n{by_size(base, model)}\n\n{hurt(base, model, options.worst)}")
    if options.figure is not None:
        draw(base, model, options.figure)


if __name__ == "__main__":
    main()
