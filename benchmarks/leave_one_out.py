"""Does the gate see degradations that it was never trained on? One gate for each kind left out, on the same latents.

Run: `python benchmarks/leave_one_out.py --data data/train/duts_tr data/train/coco_more --test data/val/ecssd`.

Images of `--data` are encoded clear and under a few of all kinds at severities 2 and 4, in turn; the gate reads pooled
latents, so that training one takes a second. For each kind two gates are asked about images of `--test` under it at
severity 4: one trained on all kinds, one on all but this. Printed are the shares that they call degraded, with 95 %
intervals (Wilson). Thresholds are set as `glesam train gate` sets them: level 0.5, or higher where more than 2 % of the
clear training images would be called degraded.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor

from glesam.data.base import Sample, SegmentationDataset, is_kept_aside
from glesam.data.readers.registry import open_dataset
from glesam.degrade.levels import CLEAR, Level, apply, kinds_of
from glesam.enhance.gate import DegradationGate
from glesam.models.base import PromptableModel
from glesam.models.registry import load_model
from glesam.train.feed.pairs import kind_of, severity
from glesam.train.stages.gate import clear_threshold, ordinal_targets

SEVERITIES, ASKED = (2, 4), 4
ALLOWED = 0.02
"""Share of clear training images that may be called degraded."""
STEPS, RATE, DECAY = 300, 2e-3, 0.2

Latents = Mapping[Level, Tensor]


@dataclass(frozen=True)
class Row:
    """How many of `count` images under a kind a gate calls degraded, with that kind in training and without."""

    kind: str
    seen: int
    unseen: int
    count: int


def levels_of() -> list[Level]:
    """Clear, LQ-1 to LQ-3, and all other kinds at the severities that are trained on."""
    kinds = [(family, kind) for family in ("real", "robustseg") for kind in kinds_of(family)]
    others = [Level(family, kind, severity) for family, kind in kinds for severity in SEVERITIES]
    return [CLEAR, *(Level("lq", severity=n) for n in (1, 2, 3)), *others]


def images(paths: Sequence[Path], count: int) -> list[Sample]:
    """`count` images in all, evenly from each folder and over its names; those that measuring keeps aside left out."""
    chosen: list[Sample] = []
    for path in paths:
        data: SegmentationDataset = open_dataset(path)
        free = [i for i, name in enumerate(data.names) if not is_kept_aside(name)]
        wanted = np.linspace(0, len(free) - 1, min(len(free), math.ceil(count / len(paths))))
        chosen += [data[free[int(at)]] for at in wanted]
    return chosen


@torch.inference_mode()
def encoded(
    model: PromptableModel, samples: Sequence[Sample], levels: Sequence[Level], each: int, seed: int
) -> Latents:
    """Latents of the samples, clear and under `each` of the other levels in turn, so that each level gets its share.

    Returns:
        `(n, C, 1, 2)` of each level: maps of two cells, to a gate the same as the whole ones.
    """
    rows: dict[Level, list[Tensor]] = {level: [] for level in levels}
    others = [level for level in levels if not level.is_clear]
    turns = itertools.cycle(others)
    for sample in samples:
        for level in (CLEAR, *itertools.islice(turns, each)):
            latent = model.encode(model.prepare(apply(sample, level, seed).image)[0]).latent.float()
            rows[level].append(two_cells(latent))
    return {level: torch.cat(parts) for level, parts in rows.items()}


def two_cells(latent: Tensor) -> Tensor:
    """`(1, C, 1, 2)` with the mean and the deviation that each channel of a `(1, C, h, w)` latent has."""
    flat = latent.flatten(2)
    mean, off = flat.mean(dim=2), flat.std(dim=2, correction=0)
    return torch.stack([mean - off, mean + off], dim=2)[:, :, None]


def trained(latents: Latents, leave_out: str | None, seed: int) -> DegradationGate:
    """A gate trained on clear latents and on those of all kinds but one, its threshold set."""
    kept = [level for level in latents if leave_out is None or kind_of(level) != leave_out]
    values = torch.cat([latents[level] for level in kept])
    targets = torch.cat([torch.full((len(latents[level]),), severity(level)) for level in kept])
    torch.manual_seed(seed)
    gate = DegradationGate(values.shape[1])
    gate.fit_features(values)
    # Clear images weigh a quarter in all, as in the stage of the gate.
    clear = (targets == 0).float()
    weights = torch.where(clear > 0, 0.25 / clear.sum(), 0.75 / (1 - clear).sum())
    optimizer = torch.optim.AdamW(gate.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        each = F.binary_cross_entropy_with_logits(gate.odds(values), ordinal_targets(targets), reduction="none")
        optimizer.zero_grad()
        (each.mean(dim=1) * weights).sum().backward()
        optimizer.step()
    gate.threshold = clear_threshold(gate.levels(latents[CLEAR]), gate.threshold, ALLOWED)
    return gate


def measured(latents: Latents, test: Latents, seed: int) -> list[Row]:
    """A row for each kind, and one for clear images, which no gate is trained without."""
    every = trained(latents, None, seed)
    rows = [Row("clear", called := _called(every, test[CLEAR]), called, len(test[CLEAR]))]
    for kind in dict.fromkeys(kind_of(level) for level in test if not level.is_clear):
        without = trained(latents, kind, seed)
        asked = torch.cat([test[level] for level in test if kind_of(level) == kind])
        rows.append(Row(kind, _called(every, asked), _called(without, asked), len(asked)))
    return rows


def _called(gate: DegradationGate, latents: Tensor) -> int:
    """How many a gate calls degraded."""
    return int((gate.levels(latents) >= gate.threshold).sum())


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 1927)."""
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| kind | images | called degraded, kind in training | kind left out |", "|---|---|---|---|"]
    for row in rows:
        shares = [_share(hits, row.count) for hits in (row.seen, row.unseen)]
        lines.append(f"| {row.kind.strip(':')} | {row.count} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _share(hits: int, count: int) -> str:
    low, high = wilson(hits, count)
    return f"{100 * hits / count:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def main() -> None:
    """Encode, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="images to train the gates on")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="images to ask them about")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--images", type=int, default=600, help="to train on")
    parser.add_argument("--each", type=int, default=4, help="degraded versions of each of these")
    parser.add_argument("--asked", type=int, default=100, help="images to ask about, under every kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, levels, seed = load_model(options.model), levels_of(), options.seed
    latents = encoded(model, images(options.data, options.images), levels, options.each, seed)
    asked = [level for level in levels if level.is_clear or level.family == "lq" or level.severity == ASKED]
    test = encoded(model, images(options.test, options.asked), asked, len(asked) - 1, seed)
    print(table(measured(latents, test, seed)))


if __name__ == "__main__":
    main()
