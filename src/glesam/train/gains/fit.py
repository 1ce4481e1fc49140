"""Fit the gate on measured gains; its quality is measured on parts that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Float64
from glesam.enhance.gains import GainGate
from glesam.errors import DataError
from glesam.train.config import GainConfig
from glesam.train.feed.pack import ImagePack
from glesam.train.gains.measure import Measured
from glesam.train.gains.versions import fold_of, full_name
from glesam.train.stages.gate import ordinal_targets

_CLIP = 0.5
"""Gains beyond this, of single objects found or lost, teach no more than this."""
_LEVEL_WEIGHT = 0.02
"""Weight of the levels' cross-entropy beside the squared error of the gain, whose variance is about a hundredth."""
_EVERY = 20
MARGINS = np.round(np.arange(-0.02, 0.0801, 0.0025), 4)


@dataclass(frozen=True)
class Table:
    """Measurements as arrays, a row a version.

    Attributes:
        features: `(N, D)` float32.
        levels: `(N,)` float32.
        off, on: `(N, 2)` float32 IoU with clicks and with a box, NaN where no object counts.
        fold: `(N,)` int64 part of each version; all versions that show an image are in one part.
        conditions: of each version.
    """

    features: Tensor
    levels: Tensor
    off: Tensor
    on: Tensor
    fold: Tensor
    conditions: list[str]

    @property
    def gains(self) -> Tensor:
        """`(N, 2)` IoU by restoring."""
        return self.on - self.off

    def part(self, rows: Tensor) -> Table:
        """Some of the rows, `(N,)` bool."""
        kept = [c for c, wanted in zip(self.conditions, rows.tolist(), strict=True) if wanted]
        features, levels, off, on, fold = (
            part[rows] for part in (self.features, self.levels, self.off, self.on, self.fold)
        )
        return Table(features, levels, off, on, fold, kept)


def check_folds(packs: Sequence[ImagePack], folds: int) -> None:
    """See before hours of measuring that there are images for each part.

    Raises:
        DataError: a part has none.
    """
    found = {fold_of(full_name(pack, place), folds) for pack in packs for place in range(len(pack.names))}
    if len(found) < folds:
        count = sum(len(pack.names) for pack in packs)
        raise DataError(
            f"expected images in each of {folds} folds, got {count} that fall into {len(found)} by their names; "
            "take more images, or fewer --folds"
        )


def as_table(measured: Sequence[Measured], folds: int) -> Table:
    """Lay measurements out; versions without any object that counts are left out.

    Raises:
        DataError: too few versions are left, or a part is empty.
    """
    kept = [one for one in measured if one.off[0] is not None]
    fold = torch.tensor([fold_of(one.name, folds) for one in kept])
    if len(kept) < 4 * folds:
        raise DataError(
            f"expected at least {4 * folds} versions with objects that count, got {len(kept)} of {len(measured)}; take "
            "more --versions, or images with larger objects"
        )
    if (filled := len(set(fold.tolist()))) < folds:
        raise DataError(
            f"expected versions with objects that count in each of {folds} folds, got them in {filled}; take more "
            "--versions or images, or fewer --folds"
        )

    def pairs(values: Sequence[list[float | None]]) -> Tensor:
        return torch.tensor([[float("nan") if v is None else v for v in each] for each in values])

    return Table(
        torch.tensor([one.features for one in kept]),
        torch.tensor([one.level for one in kept]),
        pairs([one.off for one in kept]),
        pairs([one.on for one in kept]),
        fold,
        [one.condition for one in kept],
    )


@dataclass(frozen=True)
class Fitted:
    """A gate and how it judges versions that it was not fitted on.

    Attributes:
        gate: fitted on all versions, with its margins.
        gains: `(N, 2)` gains that gates fitted on the other parts expect.
        levels: `(N,)` levels likewise.
        steps: steps that were taken.
    """

    gate: GainGate
    gains: Tensor
    levels: Tensor
    steps: int


def fit(table: Table, gate: GainGate, config: GainConfig) -> Fitted:
    """Fit a gate: how long and with which margins, by cross-validation; then on all versions.

    Args:
        table: measurements.
        gate: gives the sizes; the fitted one is another.
        config: the configuration.
    """
    curves, tracks = [], []
    for number in range(config.folds):
        held = table.fold == number
        track = _trained(table.part(~held), gate, config, table.features[held])
        curves.append([float(_loss(odds, gains, table.part(held))) * int(held.sum()) for odds, gains in track])
        tracks.append((held, track))
    best = int(np.argmin(np.sum(curves, axis=0)))
    gains, levels = torch.zeros_like(table.off), torch.zeros_like(table.levels)
    for held, track in tracks:
        odds, expected = track[best]
        gains[held], levels[held] = expected, odds.sigmoid().sum(dim=1)
    steps = (best + 1) * _EVERY
    whole = _fresh(gate)
    _trained(table, whole, config, table.features[:1], steps, into=whole)
    clear = np.asarray([condition == "clear" for condition in table.conditions])
    whole.margins = margins_for(gains.double().numpy(), table.gains.double().numpy(), clear, config.clear_loss)
    return Fitted(whole.eval(), gains, levels, steps)


def margins_for(
    expected: Float64, gains: Float64, clear: npt.NDArray[np.bool_], clear_loss: float
) -> tuple[float, float]:
    """The margins of least regret under which clear images lose at most `clear_loss` IoU on average.

    Args:
        expected: `(N, 2)` expected gains.
        gains: `(N, 2)` true ones, NaN where there are none.
        clear: `(N,)` which versions are clear.
        clear_loss: see above.

    Returns:
        One of `MARGINS` for clicks and for boxes, or 1, which restores nothing, where none keeps clear images.
    """
    found = []
    for kind in range(2):
        known = ~np.isnan(gains[:, kind])
        chosen, won, quiet = expected[known, kind], gains[known, kind], clear[known]
        # A few clear images less or more decide nothing: the bound holds for the mean over all of them.
        kept = {
            float(margin): float(np.where(chosen > margin, won, 0).mean())
            for margin in MARGINS
            if not quiet.any() or float(np.where(chosen > margin, won, 0)[quiet].mean()) >= -clear_loss
        }
        found.append(max(kept, key=lambda margin: (kept[margin], margin)) if kept else 1.0)
    return found[0], found[1]


def _fresh(gate: GainGate) -> GainGate:
    return GainGate(gate.channels, gate.early, gate.hidden)


def _trained(
    table: Table,
    gate: GainGate,
    config: GainConfig,
    look: Tensor,
    steps: int | None = None,
    into: GainGate | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Train on all rows at once; every few steps, what the gate says of other features."""
    torch.manual_seed(config.seed)
    gate = _fresh(gate) if into is None else into
    gate.fit_features(table.features)
    steps = config.fit_steps if steps is None else steps
    optimiser = torch.optim.AdamW(gate.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    track = []
    for step in range(steps):
        gate.train()
        optimiser.zero_grad()
        _loss(*gate.answers(table.features), table).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if (step + 1) % _EVERY == 0:
            with torch.no_grad():
                track.append(gate.eval().answers(look))
    return track


def _loss(odds: Tensor, gains: Tensor, table: Table) -> Tensor:
    """Squared error of the gain where it is known, and a little of the levels' cross-entropy."""
    truth = table.gains.clamp(-_CLIP, _CLIP)
    known = ~truth.isnan()
    error = (gains - truth.nan_to_num()).square()[known].mean()
    return error + _LEVEL_WEIGHT * F.binary_cross_entropy_with_logits(odds, ordinal_targets(table.levels))
