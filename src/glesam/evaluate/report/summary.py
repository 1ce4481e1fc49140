"""Rows summed up: one estimate per model, set, level and prompt, comparisons of models, and means over levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from glesam.common.seeds import stable_seed
from glesam.errors import DataError
from glesam.evaluate.measure.records import METRICS, Row
from glesam.evaluate.report.statistics import Comparison, Estimate, compare, estimate


class Cell(NamedTuple):
    """What one number of a table is about."""

    model: str
    set: str
    level: str
    prompt: str


@dataclass(frozen=True)
class CellSummary:
    """All that the rows of one cell say.

    Attributes:
        cell: model, set, level and prompt.
        metrics: estimate by metric, see `records.METRICS`.
        sharpness: median over images of the variance of the Laplacian.
        encode_seconds: median over images of the time of `set_image`.
        decode_seconds: median over objects of the time of `predict` per object.
        psnr: median over images of the PSNR in dB of what the model got; None where no image has one.
    """

    cell: Cell
    metrics: dict[str, Estimate]
    sharpness: float
    encode_seconds: float
    decode_seconds: float
    psnr: float | None = None

    @property
    def iou(self) -> Estimate:
        """Estimate of the IoU."""
        return self.metrics["iou"]


class ModelComparison(NamedTuple):
    """Two models on the same images of one set at one level with one prompt; IoU, second minus first."""

    set: str
    level: str
    prompt: str
    first: str
    second: str
    result: Comparison


class LevelMeans(NamedTuple):
    """Means over sets as in table 5 of the paper; None where the run has no such level."""

    model: str
    prompt: str
    degraded: float | None
    clear: float | None
    degraded_dice: float | None
    clear_dice: float | None


def by_cell(rows: Iterable[Row]) -> dict[Cell, list[Row]]:
    """Rows by cell, in the order in which cells first come."""
    cells: dict[Cell, list[Row]] = {}
    for row in rows:
        cells.setdefault(Cell(row.model, row.set, row.level, row.prompt), []).append(row)
    return cells


def summarise(rows: Iterable[Row], seed: int) -> list[CellSummary]:
    """One summary per cell.

    Args:
        rows: rows of a run.
        seed: the run's seed, for the intervals.

    Raises:
        DataError: there is no row.
    """
    cells = by_cell(rows)
    if not cells:
        raise DataError("expected rows of results, got none; run the benchmark first")
    return [_summarise_cell(cell, members, seed) for cell, members in cells.items()]


def compare_models(rows: Iterable[Row], seed: int, average: str = "images") -> list[ModelComparison]:
    """Compare every further model with the first one, per set, level and prompt, on images that both have.

    Args:
        rows: rows of a run.
        seed: the run's seed, for the intervals.
        average: whether all `images` or all `objects` count alike.
    """
    members = by_cell(rows)
    cells = {cell: image_means(each) for cell, each in members.items()}
    first = next(iter(cells)).model if cells else ""
    found = []
    for cell, values in cells.items():
        baseline = cells.get(cell._replace(model=first))
        if cell.model == first or baseline is None or not set(baseline) & set(values):
            continue
        objects = Counter(row.image for row in members[cell]) if average == "objects" else None
        result = compare(baseline, values, _bootstrap_seed(seed), objects=objects)
        found.append(ModelComparison(cell.set, cell.level, cell.prompt, first, cell.model, result))
    return found


def level_means(summaries: list[CellSummary], average: str = "images") -> list[LevelMeans]:
    """Mean over sets and levels of the degraded cells, and over sets of the clear ones, per model and prompt.

    Each cell counts by its mean over `images` (the paper's) or over `objects`.
    """
    means = []
    for model, prompt in dict.fromkeys((s.cell.model, s.cell.prompt) for s in summaries):
        mine = [s for s in summaries if (s.cell.model, s.cell.prompt) == (model, prompt)]
        clear = [s for s in mine if s.cell.level == "clear"]
        degraded = [s for s in mine if s.cell.level != "clear"]
        values = [_mean(group, metric, average) for metric in ("iou", "dice") for group in (degraded, clear)]
        means.append(LevelMeans(model, prompt, *values))
    return means


def flat(summary: CellSummary) -> dict[str, str | int | float]:
    """A summary as one flat record, for CSV and JSON; an interval of a single image is left empty."""
    iou = summary.iou
    record: dict[str, str | int | float] = {**summary.cell._asdict(), "pictures": iou.images, "objects": iou.objects}
    for metric in METRICS:
        value = summary.metrics[metric]
        record |= {
            metric: value.mean_images,
            f"{metric}_low": value.low,
            f"{metric}_high": value.high,
            f"{metric}_objects": value.mean_objects,
            f"{metric}_objects_low": value.low_objects,
            f"{metric}_objects_high": value.high_objects,
        }
    record |= {"sharpness_median": summary.sharpness}
    record |= {"encode_seconds_median": summary.encode_seconds, "decode_seconds_median": summary.decode_seconds}
    record["psnr_median"] = summary.psnr if summary.psnr is not None and np.isfinite(summary.psnr) else ""
    return {key: "" if value != value else value for key, value in record.items()}


def _summarise_cell(cell: Cell, rows: list[Row], seed: int) -> CellSummary:
    """Estimates of all metrics, and medians of the rest."""
    values = np.array([[getattr(row, name) for name in METRICS] for row in rows], float)
    estimates = estimate(values, [row.image for row in rows], _bootstrap_seed(seed))
    per_image = {row.image: row for row in rows}.values()
    nearness = [row.psnr for row in per_image if row.psnr is not None]
    return CellSummary(
        cell,
        dict(zip(METRICS, estimates, strict=True)),
        float(np.median([row.sharpness for row in per_image])),
        float(np.median([row.encode_seconds for row in per_image])),
        float(np.median([row.decode_seconds for row in rows])),
        float(np.median(nearness)) if nearness else None,
    )


def image_means(rows: Iterable[Row], metric: str = "iou") -> dict[str, float]:
    """Mean of a metric over the objects of each image, for the rows of one cell."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.image, []).append(getattr(row, metric))
    return {name: float(np.mean(each)) for name, each in values.items()}


def _mean(summaries: list[CellSummary], metric: str, average: str) -> float | None:
    """Mean of the cells' means over images or objects; None for no cell."""
    return float(np.mean([s.metrics[metric].by(average)[0] for s in summaries])) if summaries else None


def _bootstrap_seed(seed: int) -> int:
    """Seed of all resampling of a run: equal draws for all cells make their intervals comparable."""
    return stable_seed("bootstrap", seed)
