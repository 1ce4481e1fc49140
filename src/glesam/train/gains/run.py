"""One run: measure, fit, save the gate and what is to be known about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glesam.enhance.gains import GainGate
from glesam.errors import ConfigError
from glesam.predict.predictor import Predictor
from glesam.train.config import GainConfig, write_config
from glesam.train.feed.pack import ImagePack
from glesam.train.gains.fit import as_table, check_folds, fit
from glesam.train.gains.measure import measure
from glesam.train.gains.quality import write_quality
from glesam.train.gains.versions import Versions


def train_gain_gate(
    config: GainConfig, packs: list[ImagePack], out: Path, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Measure the gain of an enhancer on versions of images and fit the gate that tells where it is worth it.

    Args:
        config: the configuration, with its `enhancer`.
        packs: images, in the order of `config.data`.
        out: run folder: `config.json`, `gains-KEY.jsonl` (a stopped run resumes from it), `gate.json`,
            `gate.md`, `reliability.png`, and the gate in `model/`.
        on_progress: called with (done, total) versions.

    Returns:
        Margins, regrets and what clear images lose.

    Raises:
        ConfigError: no enhancer, or levels that cannot be made.
        ModelError: model or enhancer cannot be loaded or do not fit.
        DataError: too few images for the folds, or too few versions show objects.
    """
    if not config.enhancer:
        raise ConfigError("expected an enhancer whose gain is to be measured, got none; pass --enhancer FOLDER")
    check_folds(packs, config.folds)
    predictor = Predictor.from_pretrained(config.model, enhance="off", enhancer=config.enhancer)
    versions = Versions(packs, list(config.data.values()), config)
    out.mkdir(parents=True, exist_ok=True)
    write_config(config, out / "config.json")
    measured = measure(predictor, versions, config, out, on_progress)
    table = as_table(measured, config.folds)
    fitted = fit(table, _sized(predictor, config.hidden), config)
    fitted.gate.save_pretrained(out / "model")
    return write_quality(table, fitted, out)


def _sized(predictor: Predictor, hidden: int) -> GainGate:
    """A new gate for the maps of a model, read off an image of nothing."""
    predictor.enhance = "off"
    predictor.set_image(np.zeros((64, 64, 3), np.uint8))
    return GainGate.of(predictor.session.encoded.raw, hidden)
