"""A run's results for people and for programs: tables on the screen, `report.md`, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from glesam.common.files import write_text
from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results
from glesam.evaluate.measure.records import METRICS, Row, to_csv
from glesam.evaluate.measure.sources import StoredLevels
from glesam.evaluate.report.domains import domain_section
from glesam.evaluate.report.field import published_section, size_section
from glesam.evaluate.report.interactive import interactive_section, shown
from glesam.evaluate.report.markdown import markdown_table, with_interval
from glesam.evaluate.report.modes import mode_section
from glesam.evaluate.report.paper_table import paper_sections
from glesam.evaluate.report.statistics import RESAMPLES, Estimate
from glesam.evaluate.report.summary import (
    CellSummary,
    LevelMeans,
    ModelComparison,
    compare_models,
    flat,
    level_means,
    summarise,
)

if TYPE_CHECKING:
    from rich.table import Table

HOW = f"""\
Mean over images: each image's objects are averaged first, then all images count the same (the paper's mean).
Mean over objects: all objects count the same. Brackets: 95 % interval, percentile bootstrap over images
({RESAMPLES} resamples). p: paired bootstrap test over images against the first model, two-sided, not corrected for
the number of tests; of means over objects, images are drawn with all their objects. Two empty masks have IoU, Dice and
boundary IoU 0 and accuracy 1. Boundary width: 2 % of the diagonal. Prompts and degradations depend
on names and seed only, never on the order of files."""


class Report(NamedTuple):
    """All that a report shows."""

    config: BenchmarkConfig
    results: Results
    summaries: list[CellSummary]
    comparisons: list[ModelComparison]
    notes: list[str]
    stored: dict[str, StoredLevels]


def make_report(
    config: BenchmarkConfig,
    results: Results,
    notes: list[str] | None = None,
    stored: dict[str, StoredLevels] | None = None,
) -> Report:
    """Sum up the rows of a run.

    Args:
        config: what was measured.
        results: its rows and failures.
        notes: further lines for the reader.
        stored: sets whose LQ levels were read from disk, see `sources.stored_levels`.

    Raises:
        DataError: there is no row.
    """
    summaries = summarise(results.rows, config.seed)
    comparisons = compare_models(results.rows, config.seed, config.average)
    return Report(config, results, summaries, comparisons, list(notes or []), dict(stored or {}))


def write_report(report: Report, out: Path, figures: list[Path] | None = None) -> list[Path]:
    """Write `report.md`, `per_object.csv`, `summary.csv` and `summary.json` into a folder; return their paths.

    Args:
        report: what to write.
        out: output folder.
        figures: images in the same folder, shown at the end of `report.md`.
    """
    records = [flat(summary) for summary in report.summaries]
    texts = {
        "report.md": to_markdown(report, figures or []),
        "per_object.csv": to_csv(report.results.rows),
        "summary.csv": _records_csv(records),
        "summary.json": json.dumps(_as_json(report, records), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def screen_table(report: Report) -> Table:
    """IoU with its interval, and Dice, over images: a row per set, prompt and level, a column per model."""
    from rich.table import Table

    table = Table(title=_title(report))
    for name in ("set", "prompt", "level"):
        table.add_column(name, no_wrap=True)
    models = _models(report)
    for model in models:
        table.add_column(model, justify="right")
    previous = None
    for place, cells in _grid(report).items():
        if previous is not None and place[:2] != previous:
            table.add_section()
        previous = place[:2]
        table.add_row(*place, *(_cell_text(cells.get(model), report.config.average) for model in models))
    return table


def to_markdown(report: Report, figures: list[Path]) -> str:
    """The whole report as Markdown."""
    parts = [
        "# Evaluation",
        _settings(report),
        "\n".join(f"> {note}" for note in report.notes),
        f"## {_title(report)}",
        _main_table(report),
        _psnr_section(report),
        mode_section(_tabled_rows(report), report.config.models, report.config.seed),
        _comparison_section(report.comparisons, report.config.average),
        _means_section(level_means(report.summaries, report.config.average), report.config.average),
        interactive_section(report.results.rows),
        domain_section(_tabled(report), report.config.average),
        size_section(_tabled_rows(report)),
        published_section(report.results.rows, {name: report.config.share_of(name) for name in _set_names(report)}),
        *paper_sections(report.summaries),
        "## All metrics",
        _metrics_table(_tabled(report)),
        _failure_section(report.results.failed),
        "## How the numbers are made",
        HOW,
        _figure_section(figures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _grid(report: Report) -> dict[tuple[str, str, str], dict[str, CellSummary]]:
    """Summaries by (set, prompt, level), then by model, in the order of the configuration."""
    sets = _set_names(report)
    order = [(s, str(p), str(level)) for s in sets for p in report.config.prompts for level in report.config.levels]
    grid: dict[tuple[str, str, str], dict[str, CellSummary]] = {place: {} for place in order}
    for summary in _tabled(report):
        cell = summary.cell
        grid.setdefault((cell.set, cell.prompt, cell.level), {})[cell.model] = summary
    return {place: cells for place, cells in grid.items() if cells}


def _title(report: Report) -> str:
    """What the main table shows."""
    return f"IoU [95 % interval] / Dice / boundary IoU, mean over {report.config.average}"


def _set_names(report: Report) -> list[str]:
    return list(dict.fromkeys(s.cell.set for s in report.summaries))


def _tabled(report: Report) -> list[CellSummary]:
    """Summaries that tables have a row for."""
    kept = set(shown([s.cell.prompt for s in report.summaries]))
    return [s for s in report.summaries if s.cell.prompt in kept]


def _tabled_rows(report: Report) -> list[Row]:
    kept = set(shown([s.cell.prompt for s in report.summaries]))
    return [row for row in report.results.rows if row.prompt in kept]


def _models(report: Report) -> list[str]:
    """Models in the order of the configuration."""
    return [str(model) for model in report.config.models]


def _cell_text(summary: CellSummary | None, average: str) -> str:
    """One cell of the main table."""
    if summary is None:
        return "–"
    others = (f"{summary.metrics[name].by(average)[0]:.3f}" for name in ("dice", "boundary_iou"))
    return " / ".join([with_interval(*summary.iou.by(average)), *others])


def _estimate_text(value: Estimate) -> str:
    """Mean over images with its interval."""
    return with_interval(value.mean_images, value.low, value.high)


def _settings(report: Report) -> str:
    """What was measured, and how much of it."""
    from glesam import __version__

    config = report.config
    first = [s for s in report.summaries if s.cell.model == report.summaries[0].cell.model]
    # The largest cell of each set stands for it: kinds that move pixels can lose an object.
    sizes = {s.cell.set: max((t.iou.images, t.iou.objects) for t in first if t.cell.set == s.cell.set) for s in first}
    sets = ", ".join(
        f"{name} ({images} images, {objects} objects{_smallest(config.share_of(name))})"
        for name, (images, objects) in sizes.items()
    )
    limit = "all images" if config.limit is None else f"at most {config.limit} images per set, chosen by hash"
    return "\n".join(
        [
            f"* Models: {', '.join(f'{m} (enhance {m.enhance})' for m in config.models)}",
            f"* Data: {sets}; {limit}",
            f"* Levels: {', '.join(map(str, config.levels))}; {_recipes(report)}",
            f"* Prompts: {', '.join(map(str, config.prompts))}",
            f"* Seed {config.seed}, glesam {__version__}",
        ]
    )


def _recipes(report: Report) -> str:
    """How LQ levels were made: with the run's recipe and seed, but for sets that were built before."""
    here = [f"LQSeg recipe {report.config.recipe}"] if set(_set_names(report)) - report.stored.keys() else []
    return "; ".join([*here, *(f"LQ levels of {name} as built, {made}" for name, made in report.stored.items())])


def _smallest(share: float) -> str:
    """The size filter in words; nothing where there is none."""
    return f" of at least {share:.2%} of the image" if share else ""


def _main_table(report: Report) -> str:
    """The table of the screen as Markdown."""
    models = _models(report)
    rows = [
        [*place, *(_cell_text(cells.get(m), report.config.average) for m in models)]
        for place, cells in _grid(report).items()
    ]
    return markdown_table(["set", "prompt", "level", *models], rows, 3)


def _psnr_section(report: Report) -> str:
    """PSNR of what each model got, in runs with a restorer: a nearer image need not give a better mask."""
    if all(model.restore is None for model in report.config.models):
        return ""
    models = _models(report)
    prompt = str(report.config.prompts[0])  # PSNR is the same for every prompt
    places = {place: cells for place, cells in _grid(report).items() if place[1] == prompt}
    rows = [[place[0], place[2], *(_psnr_text(cells.get(m)) for m in models)] for place, cells in places.items()]
    title = "## PSNR of what the model got against the clear image, dB, median over images"
    return f"{title}\n\n{markdown_table(['set', 'level', *models], rows, 2)}"


def _psnr_text(summary: CellSummary | None) -> str:
    """One PSNR; equal images have an infinite one."""
    if summary is None or summary.psnr is None:
        return "–"
    return "∞" if math.isinf(summary.psnr) else f"{summary.psnr:.2f}"


def _comparison_section(comparisons: list[ModelComparison], average: str) -> str:
    """Differences between models with p values; empty for a single model."""
    if not comparisons:
        return ""
    rows = [
        [
            c.set,
            c.prompt,
            c.level,
            f"{c.second} − {c.first}",
            with_interval(c.result.difference, c.result.low, c.result.high),
            "–" if c.result.p_value != c.result.p_value else f"{c.result.p_value:.4f}",
            str(c.result.images),
        ]
        for c in comparisons
    ]
    header = ["set", "prompt", "level", "models", "difference of IoU", "p", "pictures"]
    return f"## Differences between models, mean over {average}\n\n" + markdown_table(header, rows, 4)


def _means_section(means: list[LevelMeans], average: str) -> str:
    """Means over sets and levels, as table 5 of the paper has them; empty without both clear and degraded levels."""
    rows = [
        [
            m.model,
            m.prompt,
            f"{m.degraded:.4f} / {m.degraded_dice:.4f}",
            f"{m.clear:.4f} / {m.clear_dice:.4f}",
            f"{(m.degraded + m.clear) / 2:.4f} / {(m.degraded_dice + m.clear_dice) / 2:.4f}",
        ]
        for m in means
        if m.degraded is not None and m.clear is not None and m.degraded_dice is not None and m.clear_dice is not None
    ]
    if not rows:
        return ""
    header = ["model", "prompt", "degraded, IoU / Dice", "clear", "average of both"]
    return f"## Means over sets and levels, of means over {average}\n\n" + markdown_table(header, rows, 2)


def _metrics_table(summaries: list[CellSummary]) -> str:
    """Every metric of every cell, over images, and the IoU over objects."""
    header = ["model", "set", "prompt", "level", "pictures", "objects"]
    header += ["IoU", "Dice", "pixel accuracy", "boundary IoU", "IoU over objects", "encode ms", "decode ms"]
    rows = []
    for s in summaries:
        overall = with_interval(s.iou.mean_objects, s.iou.low_objects, s.iou.high_objects)
        rows.append(
            [s.cell.model, s.cell.set, s.cell.prompt, s.cell.level, str(s.iou.images), str(s.iou.objects)]
            + [_estimate_text(s.metrics[name]) for name in METRICS]
            + [overall, f"{1e3 * s.encode_seconds:.0f}", f"{1e3 * s.decode_seconds:.1f}"]
        )
    return markdown_table(header, rows, 4)


def _failure_section(failed: dict[str, str]) -> str:
    """Images that were left out, with the reason."""
    if not failed:
        return ""
    return f"## Left out ({len(failed)})\n\n" + "\n".join(f"* {name}: {reason}" for name, reason in failed.items())


def _figure_section(figures: list[Path]) -> str:
    """Images of the run."""
    if not figures:
        return ""
    return "## Figures\n\n" + "\n\n".join(f"![{path.stem.replace('_', ' ')}]({path.name})" for path in figures)


def _records_csv(records: list[dict[str, str | int | float]]) -> str:
    """Flat records as CSV text."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _as_json(report: Report, records: list[dict[str, str | int | float]]) -> dict[str, object]:
    """The report for programs; what is undefined is null."""
    config = report.config
    return {
        "config": {
            "models": [asdict(model) for model in config.models],
            "levels": [str(level) for level in config.levels],
            "prompts": [str(spec) for spec in config.prompts],
            "seed": config.seed,
            "recipe": config.recipe,
            "min_share": config.min_share,
            "limit": config.limit,
            "average": config.average,
            "stored_levels": {name: made._asdict() for name, made in report.stored.items()},
        },
        "notes": report.notes,
        "summary": [{key: None if value == "" else value for key, value in record.items()} for record in records],
        "comparisons": [
            {
                **{key: value for key, value in c._asdict().items() if key != "result"},
                **{key: None if value != value else value for key, value in asdict(c.result).items()},
            }
            for c in report.comparisons
        ],
        "failed": report.results.failed,
    }
