"""Best and worst cases of a run as images: the degraded image with its prompt, the truth, each model's mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from glesam.degrade.levels import Level
from glesam.draw.figures import COLOURS, new_figure, save
from glesam.evaluate.measure.benchmark import Answer, BenchmarkConfig, Probe, ask, probes
from glesam.evaluate.measure.model_specs import LoadPredictor, ModelSpec
from glesam.evaluate.measure.protocol import PromptSpec
from glesam.evaluate.measure.records import Row
from glesam.evaluate.measure.sources import Source
from glesam.evaluate.metrics import iou
from glesam.evaluate.report.interactive import clicks_of

CASES = 4
_TRUTH_COLOUR, _PROMPT_COLOUR = "#009E73", "#F0E442"


class Case(NamedTuple):
    """One object of one image at one level with one prompt."""

    set: str
    level: str
    prompt: str
    image: str
    object_id: int


@dataclass
class Drawn:
    """A case, ready to be drawn.

    Attributes:
        case: what it is.
        image: `(H, W, 3)` uint8 RGB, as the models got it.
        probe: truth and prompt.
        masks: `(H, W)` bool per model, in the order of the run.
    """

    case: Case
    image: npt.NDArray[np.uint8]
    probe: Probe
    masks: dict[str, npt.NDArray[np.bool_]]


def choose_cases(rows: Sequence[Row], count: int = CASES) -> tuple[list[Case], list[Case]]:
    """Objects with the highest and with the lowest IoU (mean over models), best first and worst first.

    Every image comes at most once in each list, and no case is in both. Ties go by name, so that a choice is the same
    on every run.
    """
    values: dict[Case, list[float]] = {}
    for row in rows:
        values.setdefault(Case(row.set, row.level, row.prompt, row.image, row.object_id), []).append(row.iou)
    ranked = sorted(values, key=lambda case: (-float(np.mean(values[case])), case))
    best = one_per_image(ranked)[: min(count, len(ranked) // 2 or 1)]
    worst = [case for case in one_per_image(ranked[::-1]) if case not in best][:count]
    return best, worst


def draw_gallery(
    config: BenchmarkConfig, sources: Sequence[Source], rows: Sequence[Row], out: Path, load: LoadPredictor
) -> list[Path]:
    """Draw `gallery_best.png` and `gallery_worst.png`; the masks are asked for again, since a run keeps only numbers.

    Args:
        config: what was measured.
        sources: its data sets.
        rows: its rows.
        out: output folder.
        load: makes the predictor of a model.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: an image can no longer be read.
        ModelError: a model cannot be loaded.
    """
    # Corrective clicks depend on the answers before them, and are not asked for again.
    best, worst = choose_cases([row for row in rows if not clicks_of(row.prompt)])
    drawn = {case: prepare(config, sources, case) for case in [*best, *worst]}
    for model in config.models:
        add_masks(model, load, list(drawn.values()))
    groups = {"best": best, "worst": worst}
    return [
        draw_cases([drawn[case] for case in cases], out / f"gallery_{name}.png")
        for name, cases in groups.items()
        if cases
    ]


def one_per_image(cases: Sequence[Case]) -> list[Case]:
    """The first case of each image."""
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        first.setdefault((case.set, case.image), case)
    return list(first.values())


def prepare(config: BenchmarkConfig, sources: Sequence[Source], case: Case) -> Drawn:
    """Read a case's image again, degrade it and draw its prompt again; all come from names and seed."""
    source = _named(sources, case.set, lambda s: s.name)
    level: Level = _named(config.levels, case.level, str)
    spec: PromptSpec = _named(config.prompts, case.prompt, str)
    sample = source.load(case.image, level, config.seed, config.recipe)
    (probe,) = probes(sample, spec, [case.object_id], config.seed)
    return Drawn(case, sample.image, probe, {})


def _named(things: Sequence[Any], name: str, name_of: Callable[[Any], str]) -> Any:
    """The thing of that name; rows come from these very things, so that there is one."""
    return next(thing for thing in things if name_of(thing) == name)


def add_masks(model: ModelSpec, load: LoadPredictor, cases: Sequence[Drawn]) -> None:
    """Ask one model for all cases."""
    predictor = load(model)
    for drawn in cases:
        predictor.set_image(drawn.image, f"{drawn.case.set}/{drawn.case.level}/{drawn.case.image}")
        answer: Answer = ask(predictor, [drawn.probe])[0]
        drawn.masks[str(model)] = answer.mask


def draw_cases(cases: Sequence[Drawn], path: Path) -> Path:
    """One row per case: image with prompt, truth, and each model's mask with its IoU."""
    models = list(cases[0].masks)
    heights = [min(1.6, max(0.5, drawn.image.shape[0] / drawn.image.shape[1])) for drawn in cases]
    columns = 2 + len(models)
    height = sum(2.7 * h + 0.55 for h in heights)
    figure, axes = new_figure(2.8 * columns, height, len(cases), columns, gridspec_kw={"height_ratios": heights})
    for row, drawn in zip(axes, cases, strict=True):
        case = drawn.case
        row[0].imshow(drawn.image)
        _draw_prompt(row[0], drawn.probe)
        row[0].set_title(f"{case.set} · {_short(case.image)}\n{case.level} · {case.prompt}", fontsize=8)
        row[1].imshow(overlay(drawn.image, drawn.probe.truth, _TRUTH_COLOUR))
        row[1].set_title("truth", fontsize=8)
        for panel, (index, (model, mask)) in zip(row[2:], enumerate(drawn.masks.items()), strict=True):
            panel.imshow(overlay(drawn.image, mask, COLOURS[index % 2]))
            panel.set_title(f"{model}\nIoU {iou(mask, drawn.probe.truth):.3f}", fontsize=8)
        for panel in row:
            panel.set_axis_off()
    return save(figure, path)


def overlay(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], colour: str) -> npt.NDArray[np.uint8]:
    """Blend a mask into an image that is dimmed outside, with a line along the mask's edge.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` bool.
        colour: `#RRGGBB`.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)
    inside = 0.55 * image + 0.45 * rgb
    blended = np.where(mask[..., None], inside, 0.6 * image).astype(np.uint8)
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(mask.shape) / 300))
    return np.asarray(cv2.drawContours(blended, edges, -1, (255.0, 255.0, 255.0), thickness), np.uint8)


def _draw_prompt(axes: Any, probe: Probe) -> None:
    """Points as stars, a box as a frame."""
    prompt = probe.prompt
    if prompt.points is not None:
        x, y = prompt.points[:, 0], prompt.points[:, 1]
        axes.scatter(x, y, marker="*", s=90, c=_PROMPT_COLOUR, edgecolors="black", linewidths=0.8)
    if prompt.box is not None:
        from matplotlib.patches import Rectangle

        x0, y0, x1, y1 = (float(value) for value in prompt.box)
        frame = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=_PROMPT_COLOUR, linewidth=2)
        axes.add_patch(frame)


def _short(name: str) -> str:
    """An image's name, cut in front where it is long."""
    return name if len(name) <= 28 else "…" + name[-27:]
