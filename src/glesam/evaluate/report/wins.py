"""Where the enhancer wins and where it loses, as images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glesam.evaluate.measure.benchmark import BenchmarkConfig
from glesam.evaluate.measure.model_specs import LoadPredictor
from glesam.evaluate.measure.records import Row
from glesam.evaluate.measure.sources import Source
from glesam.evaluate.report.gallery import Case, add_masks, draw_cases, one_per_image, prepare
from glesam.evaluate.report.interactive import clicks_of
from glesam.evaluate.report.modes import mode_groups

CASES = 6


def choose_wins(rows: Sequence[Row], off: str, other: str, count: int = CASES) -> tuple[list[Case], list[Case]]:
    """Objects that gain most IoU, and those that lose most, greatest change first; at most one an image in each.

    Args:
        rows: of a run.
        off: label of the model without its enhancer.
        other: label of the same model with it.
        count: how many of each.
    """
    known: dict[str, dict[Case, float]] = {off: {}, other: {}}
    for row in rows:
        if row.model in known and not clicks_of(row.prompt):
            known[row.model][Case(row.set, row.level, row.prompt, row.image, row.object_id)] = row.iou
    shared = known[off].keys() & known[other].keys()
    gains = {case: known[other][case] - known[off][case] for case in shared}
    ranked = sorted(gains, key=lambda case: (-gains[case], case))
    wins = [case for case in ranked if gains[case] > 0]
    losses = [case for case in reversed(ranked) if gains[case] < 0]
    return one_per_image(wins)[:count], one_per_image(losses)[:count]


def draw_wins(
    config: BenchmarkConfig, sources: Sequence[Source], rows: Sequence[Row], out: Path, load: LoadPredictor
) -> list[Path]:
    """Draw `wins.png` and `losses.png` of the first model that was measured off, on and auto; else nothing.

    Arguments and errors are those of `gallery.draw_gallery`.
    """
    groups = mode_groups(config.models)
    if not groups:
        return []
    labels = groups[0]
    # What auto does not restore neither wins nor loses: the enhancer's own wins and losses are those of "on".
    chosen = dict(zip(("wins", "losses"), choose_wins(rows, labels["off"], labels["on"]), strict=True))
    drawn = {case: prepare(config, sources, case) for cases in chosen.values() for case in cases}
    for model in config.models:
        if str(model) in labels.values():
            add_masks(model, load, list(drawn.values()))
    return [draw_cases([drawn[case] for case in cases], out / f"{name}.png") for name, cases in chosen.items() if cases]
