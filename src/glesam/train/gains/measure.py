"""Measure what restoring brings: IoU off and on, with clicks and with a box, and what the gate sees of each version."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from glesam.common.documents import checked
from glesam.common.jsonl import line, records
from glesam.common.messages import shown
from glesam.common.seeds import generator
from glesam.enhance.gains import gate_features
from glesam.errors import ConfigError, DataError
from glesam.masks.agreement import mask_iou
from glesam.predict.predictor import Predictor
from glesam.prompts.drawn import draw_points, tight_box
from glesam.train.config import GainConfig
from glesam.train.gains.versions import Version, Versions

POINTS = 3
_SHAPING = (
    "data",
    "kept_aside",
    "seed",
    "levels",
    "as_clear",
    "leave_out",
    "mixing",
    "recipe",
    "native",
    "objects",
    "least_share",
    "mosaic",
    "folds",
)
_DIGITS = 5


@dataclass(frozen=True)
class Measured:
    """What was measured on one version; IoU are means over its objects.

    Attributes:
        index: number of the version.
        name: of its first image, with the set's.
        condition: see `Version`.
        level: see `Version`.
        off, on: IoU with clicks and with a box, base model and restored; None where no object counts.
        features: what the gate sees.
    """

    index: int
    name: str
    condition: str
    level: float
    off: list[float | None]
    on: list[float | None]
    features: list[float]


def measure(
    predictor: Predictor,
    versions: Versions,
    config: GainConfig,
    folder: str | Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Measured]:
    """Measure the versions of a configuration, after those that a file of the folder holds.

    Args:
        predictor: with an enhancer.
        versions: the stream.
        config: says how many.
        folder: gets `gains-KEY.jsonl`, where KEY stands for model, enhancer and all that shapes the versions.
        on_progress: called with (done, total).

    Raises:
        ConfigError: the predictor has no enhancer.
        OSError: the file cannot be written.
    """
    restoration = predictor.session.embedder.restoration
    if restoration is None:
        raise ConfigError("expected an enhancer to measure the gain of, got none; pass --enhancer FOLDER")
    path = Path(folder) / f"gains-{_key(predictor, versions, config)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _known(path)
    with path.open("ab") as stream:
        if stream.tell() and not path.read_bytes().endswith(b"\n"):
            stream.write(b"\n")  # a kill cut the last line short
        missing = [index for index in range(config.versions) if index not in done]
        if on_progress is not None:
            on_progress(len(done), config.versions)
        for number, found in enumerate(_measured(predictor, versions, config, missing), start=1):
            done[found.index] = found
            stream.write(line(asdict(found)))
            stream.flush()
            if on_progress is not None:
                on_progress(config.versions - len(missing) + number, config.versions)
    return [done[index] for index in range(config.versions)]


def _measured(
    predictor: Predictor, versions: Versions, config: GainConfig, missing: Sequence[int]
) -> Iterator[Measured]:
    """Measure versions, several at once, each thread with a predictor of its own and one of torch's threads."""
    restoration, threads, own = predictor.session.embedder.restoration, torch.get_num_threads(), threading.local()
    least = 0.0 if restoration is None else restoration.rule(None).least_box

    def work(index: int) -> Measured:
        if not hasattr(own, "predictor"):
            own.predictor = Predictor(predictor.model, "off", restoration, name=predictor.name)
        return measure_version(own.predictor, versions.version(index, config), least)

    torch.set_num_threads(max(1, threads // config.workers) if config.workers else threads)
    executor = ThreadPoolExecutor(max(1, config.workers))
    try:
        yield from executor.map(work, missing)
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def measure_version(predictor: Predictor, version: Version, least_box: float = 0.0) -> Measured:
    """Measure one version.

    Args:
        predictor: with an enhancer; its mode is changed.
        version: the version.
        least_box: share of the image; smaller boxes keep the base model's mask, and so do not count.
    """
    image, mask = np.ascontiguousarray(version.sample.image), version.sample.mask
    truths = [mask == one for one in version.objects]
    boxes = [tight_box(truth) for truth in truths]
    large = [float((b[2] - b[0]) * (b[3] - b[1])) >= least_box * mask.size for b in boxes]
    rngs = [generator("gain points", version.sample.name, version.index, one) for one in version.objects]
    points = [draw_points(truth, POINTS, rng) for truth, rng in zip(truths, rngs, strict=True)]
    means: dict[str, list[float | None]] = {}
    for mode in ("off", "on"):
        predictor.enhance = mode
        predictor.set_image(image)
        if mode == "off":
            features = _features(predictor)
        clicked = _ious(predictor, truths, points=points) if truths else []
        boxed = _ious(predictor, truths, boxes=boxes) if truths else []
        means[mode] = [_mean(clicked), _mean([value for value, counts in zip(boxed, large, strict=True) if counts])]
    return Measured(
        version.index, version.sample.name, version.condition, version.level, means["off"], means["on"], features
    )


def _features(predictor: Predictor) -> list[float]:
    """What the gate sees of the current image."""
    encoded = predictor.session.encoded
    if encoded.pixels is None:
        raise ConfigError("expected an enhancer that encodes images again, got another; it needs an encoder or a size")
    with torch.no_grad():
        found = gate_features(encoded.raw, encoded.pixels)[0]
    return [float(f"{value:.{_DIGITS}g}") for value in found.tolist()]


def _ious(predictor: Predictor, truths: Sequence[npt.NDArray[np.bool_]], **prompts: Any) -> list[float]:
    masks = predictor.predict(**prompts).masks
    return [mask_iou(mask, truth) for mask, truth in zip(masks, truths, strict=True)]


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), _DIGITS) if values else None


def _key(predictor: Predictor, versions: Versions, config: GainConfig) -> str:
    """What distinguishes these measurements from others."""
    values = config.model_dump(mode="json")
    sources = [[pack.key, pack.names] for pack in versions.packs]
    weights = predictor.session.info(True)["weights"]
    identity = [weights, predictor.refine, {key: values[key] for key in _SHAPING}, sources]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _known(path: Path) -> dict[int, Measured]:
    """What an earlier run measured."""
    if not path.is_file():
        return {}
    found = [checked(Measured, record, shown(path), DataError) for record in records(path, skip_broken=True)]
    return {one.index: one for one in found}
