"""How good a gate is: regret by condition, and whether gains come as they were expected; numbers and images."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float64
from glesam.common.files import write_text
from glesam.draw.figures import COLOURS, new_figure, save, tidy
from glesam.enhance.gains import PROMPTS
from glesam.train.gains.fit import Fitted, Table
from glesam.train.gains.versions import condition_group

_BINS = 8


@dataclass(frozen=True)
class Regret:
    """How a gate decides for versions of one condition.

    Attributes:
        prompt: `points` or `boxes`.
        condition: `clear`, `lq1`, `real:haze`, `mixed`, or `all`.
        count: versions.
        off, on, auto: mean IoU.
        regret: `max(off, on) - auto`, IoU lost against the better of both for the condition; below 0 where deciding
            image by image beats both.
        oracle: mean IoU of whichever is better for each version.
        restored: share of the versions that are restored.
    """

    prompt: str
    condition: str
    count: int
    off: float
    on: float
    auto: float
    regret: float
    oracle: float
    restored: float


def regrets(table: Table, fitted: Fitted) -> list[Regret]:
    """Regret of each condition and of all together, clicks first; decisions are those of gates that had not seen it."""
    groups = [condition_group(condition) for condition in table.conditions]
    rows = []
    for kind, prompt in enumerate(PROMPTS):
        off, on = table.off[:, kind].double().numpy(), table.on[:, kind].double().numpy()
        wanted = (fitted.gains[:, kind] > fitted.gate.margins[kind]).numpy()
        for name in ["all", *sorted(set(groups))]:
            inside = ~np.isnan(off) & (np.asarray([name in ("all", group) for group in groups]))
            if inside.any():
                rows.append(_regret(prompt, name, off[inside], on[inside], wanted[inside]))
    return rows


def _regret(prompt: str, condition: str, off: Float64, on: Float64, wanted: npt.NDArray[np.bool_]) -> Regret:
    auto, best = float(np.where(wanted, on, off).mean()), float(np.maximum(off, on).mean())
    better = max(float(off.mean()), float(on.mean()))
    numbers = (float(off.mean()), float(on.mean()), auto, better - auto, best, float(wanted.mean()))
    low, high, chosen, lost, oracle, restored = (round(number, 4) for number in numbers)
    return Regret(prompt, condition, len(off), low, high, chosen, lost, oracle, restored)


@dataclass(frozen=True)
class Bin:
    """Versions of about the same expected gain: mean expected gain, mean gain, half its 95 % interval, how many."""

    expected: float
    found: float
    half: float
    count: int


def reliability(expected: Float64, gains: Float64, bins: int = _BINS) -> list[Bin]:
    """Mean true gain against mean expected gain, in bins of equal numbers of versions, lowest expected gain first."""
    known = ~np.isnan(gains)
    order = np.argsort(expected[known], kind="stable")
    found = []
    for part in np.array_split(order, bins):
        if len(part) > 1:
            true = gains[known][part]
            half = 1.96 * float(true.std(ddof=1)) / float(np.sqrt(len(part)))
            found.append(Bin(float(expected[known][part].mean()), float(true.mean()), half, len(part)))
    return found


def write_quality(table: Table, fitted: Fitted, out: Path) -> dict[str, float]:
    """Write `gate.json`, `gate.md` and, where matplotlib is there, `reliability.png` into a folder.

    Returns:
        The numbers that matter: margins, and for each prompt the regret over all, and what clear images lose.
    """
    rows = regrets(table, fitted)
    bins = {
        prompt: reliability(fitted.gains[:, kind].double().numpy(), table.gains[:, kind].double().numpy())
        for kind, prompt in enumerate(PROMPTS)
    }
    document: dict[str, Any] = {
        "versions": len(table.conditions),
        "steps": fitted.steps,
        "margins": dict(zip(PROMPTS, fitted.gate.margins, strict=True)),
        "level_error": round(float((fitted.levels - table.levels).abs().mean()), 4),
        "regret": [asdict(row) for row in rows],
        "reliability": {prompt: [asdict(each) for each in found] for prompt, found in bins.items()},
    }
    write_text(out / "gate.json", json.dumps(document, indent=2) + "\n")
    write_text(out / "gate.md", regret_table(rows))
    if importlib.util.find_spec("matplotlib") is not None:
        draw(rows, bins, out / "reliability.png")
    found = {f"margin_{prompt}": margin for prompt, margin in document["margins"].items()}
    for row in rows:
        if row.condition == "all":
            found[f"regret_{row.prompt}"], found[f"gain_{row.prompt}"] = row.regret, round(row.auto - row.off, 4)
        if row.condition == "clear":
            found[f"clear_loss_{row.prompt}"] = round(row.off - row.auto, 4)
    return found


def regret_table(rows: list[Regret]) -> str:
    """The regrets as a Markdown table."""
    head = (
        "| prompt | condition | versions | off | on | auto | regret | best of each | restored |\n" + "|---" * 9 + "|\n"
    )
    return head + "".join(
        f"| {r.prompt} | {r.condition} | {r.count} | {r.off:.3f} | {r.on:.3f} | {r.auto:.3f} | {r.regret:+.4f} | "
        f"{r.oracle:.3f} | {r.restored:.0%} |\n"
        for r in rows
    )


def draw(rows: list[Regret], bins: dict[str, list[Bin]], path: Path) -> Path:
    """Draw reliability (gain found against gain expected) and the regret of each condition.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure, axes = new_figure(10.0, 4.2, 1, 2)
    left, right = axes[0]
    for index, (prompt, found) in enumerate(bins.items()):
        left.errorbar(
            [b.expected for b in found], [b.found for b in found], [b.half for b in found],
            fmt="o-", color=COLOURS[index], label=prompt, capsize=2,
        )  # fmt: skip
    ends = [b.expected for found in bins.values() for b in found] or [0.0]
    left.plot([min(ends), max(ends)], [min(ends), max(ends)], color="0.6", linestyle="--", label="as expected")
    left.set(xlabel="expected gain in IoU", ylabel="gain found, 95 % interval", title="Reliability")
    left.legend(frameon=False)
    conditions = list(dict.fromkeys(r.condition for r in rows))
    for index, prompt in enumerate(PROMPTS):
        values = {r.condition: r.regret for r in rows if r.prompt == prompt}
        places = [n + 0.4 * index for n, c in enumerate(conditions) if c in values]
        right.barh(places, [values[c] for c in conditions if c in values], 0.38, color=COLOURS[index], label=prompt)
    right.set_yticks([n + 0.2 for n in range(len(conditions))], conditions, fontsize=7)
    right.invert_yaxis()
    right.set(xlabel="IoU lost against the better of off and on", title="Regret")
    right.legend(frameon=False)
    for each in (left, right):
        tidy(each)
    return save(figure, path)
