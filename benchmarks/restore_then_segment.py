"""Restore-then-segment against the latent enhancer: IoU, PSNR and time of each, on the same images in one run.

Run: `python benchmarks/restore_then_segment.py --data data/val/ecssd [--restore unet:FOLDER ...] [--limit 100]`.
Writes the report of `glesam evaluate` into `--out`, and prints one Markdown table. The first row is the model alone;
differences are to it, with the 95 % interval of the paired bootstrap over images. The time is that of `set_image`
(restore, encode, enhance), the median over images, so that rows of equal cost can be told.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from glesam.degrade.levels import parse_levels
from glesam.evaluate.measure.benchmark import BenchmarkConfig, run_benchmark
from glesam.evaluate.measure.model_specs import parse_models, predictor_loader
from glesam.evaluate.measure.protocol import parse_prompts
from glesam.evaluate.measure.records import Row
from glesam.evaluate.measure.sources import open_sources, stored_levels
from glesam.evaluate.report.markdown import markdown_table
from glesam.evaluate.report.report import make_report, write_report
from glesam.evaluate.report.statistics import compare
from glesam.evaluate.report.summary import by_cell, image_means, summarise

CLASSICAL = ("median", "nlm", "deblock", "gamma", "clahe")


def columns(model: str, restorers: Sequence[str]) -> str:
    """The model alone, with its enhancer behind the gate, and alone after each restorer."""
    plain = f"{model}@enhance=off"
    return ",".join([plain, f"{model}@enhance=auto", *(f"{plain}@restore={name}" for name in restorers)])


def table(rows: Sequence[Row], seed: int = 0) -> str:
    """One line for each model, set and prompt; levels side by side."""
    summaries = {summary.cell: summary for summary in summarise(rows, seed)}
    cells = {cell: image_means(members) for cell, members in by_cell(rows).items()}
    levels = list(dict.fromkeys(cell.level for cell in cells))
    base = next(iter(cells)).model
    lines = []
    for place in dict.fromkeys((cell.set, cell.prompt, cell.model) for cell in cells):
        mine = [cell for cell in cells if (cell.set, cell.prompt, cell.model) == place]
        texts = []
        for cell in mine:
            values, plain = cells[cell], cells[cell._replace(model=base)]
            text = f"{summaries[cell].iou.mean_images:.3f}"
            if cell.model != base:
                found = compare(plain, values, seed)
                text += f" ({found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}])"
            near = summaries[cell].psnr
            texts.append(text if near is None else f"{text}, {near:.1f} dB")
        time = max(summaries[cell].encode_seconds for cell in mine)
        lines.append([*place, *texts, f"{1e3 * time:.0f}"])
    return markdown_table(["set", "prompt", "model", *levels, "ms"], lines, 3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="[NAME=]FOLDER")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--restore", nargs="*", default=list(CLASSICAL), metavar="NAME[:ARGUMENT]")
    parser.add_argument("--levels", default="clear,lq1,lq2,lq3")
    parser.add_argument("--prompts", default="points:3")
    parser.add_argument("--limit", type=int, default=100, help="images of each set, chosen by hash")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("evaluation-restore"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = parse_models([columns(options.model, options.restore)])
    levels, prompts = parse_levels([options.levels]), parse_prompts([options.prompts])
    config = BenchmarkConfig(models, levels, prompts, limit=options.limit)
    sources = open_sources(options.data)
    results = run_benchmark(config, sources, options.out, predictor_loader("cpu"))
    write_report(make_report(config, results, stored=stored_levels(sources)), options.out)
    print(table(results.rows))


if __name__ == "__main__":
    main()
