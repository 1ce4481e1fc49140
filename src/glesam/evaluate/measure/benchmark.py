"""The benchmark: models x data sets x levels x prompts, one row per object, taken up again where it was stopped.

All prompts of an image at a level share one `set_image`; one model is in memory at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.seeds import stable_seed
from glesam.data.base import Sample, object_ids
from glesam.degrade.levels import CLEAR, Level
from glesam.errors import DataError, ImageError, ModelError
from glesam.evaluate.measure.clicks import rounds
from glesam.evaluate.measure.model_specs import LoadPredictor, ModelSpec, PredictorLike, fingerprint
from glesam.evaluate.measure.protocol import DrawnPrompt, PromptSpec, prompt_for
from glesam.evaluate.measure.records import FILES_KEY, PartStore, Row
from glesam.evaluate.measure.sources import Source, choose
from glesam.evaluate.metrics import measure
from glesam.images.pixels import RGB
from glesam.restore.quality import psnr

FORMAT = 2
"""Version of the rows' meaning; a change of protocol raises it, so that old parts are refused."""
OBJECTS_AT_ONCE = 32
_PREFETCH = 2


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to measure.

    Attributes:
        models: columns of the tables; the first is the baseline of comparisons.
        levels: levels of quality.
        prompts: ways to prompt.
        seed: seed of prompts, degradations and intervals.
        recipe: LQSeg recipe for levels that are made on the fly, `test` or `train`.
        min_share: smallest object, as a share of the image's area, by name of the set; `""` holds for all others.
        limit: number of images per set, chosen by hash; None for all.
        average: what the report's tables and comparisons count alike, `images` or `objects`; changes no row.
    """

    models: tuple[ModelSpec, ...]
    levels: tuple[Level, ...]
    prompts: tuple[PromptSpec, ...]
    seed: int = 0
    recipe: str = "test"
    min_share: dict[str, float] = field(default_factory=dict)
    limit: int | None = None
    average: str = "images"

    def share_of(self, set_name: str) -> float:
        """Smallest object of a set, as a share of the image's area."""
        return self.min_share.get(set_name, self.min_share.get("", 0.0))


class Condition(NamedTuple):
    """One model on one data set at one level."""

    model: ModelSpec
    source: Source
    level: Level

    def __str__(self) -> str:
        """Return the part in words, for progress and messages."""
        return f"{self.model} · {self.source.name} · {self.level}"


class Results(NamedTuple):
    """All rows of a run, and the images that could not be measured, with the reason."""

    rows: list[Row]
    failed: dict[str, str]


class Probe(NamedTuple):
    """One object to be asked for: its id, its mask `(H, W)` bool, and its prompt."""

    object_id: int
    truth: npt.NDArray[np.bool_]
    prompt: DrawnPrompt


class Loaded(NamedTuple):
    """An image at a level, and the clear one, `(H, W, 3)` uint8, where the two can be compared pixel by pixel."""

    sample: Sample
    clear: RGB | None


class Answer(NamedTuple):
    """What a model made of one object: mask `(H, W)` bool, its own score, and the seconds that it took."""

    mask: npt.NDArray[np.bool_]
    score: float
    seconds: float


def run_benchmark(
    config: BenchmarkConfig,
    sources: Sequence[Source],
    out: Path,
    load: LoadPredictor,
    progress: Callable[[str, int], None] = lambda text, images: None,
    overwrite: bool = False,
) -> Results:
    """Measure all parts that are not done yet, and return the rows of all parts.

    Args:
        config: what to measure.
        sources: the data sets.
        out: output folder; parts go to `out/parts`.
        load: makes the predictor of a model; called only for models with a part to do.
        progress: called with the part in words and the number of images that came to be done.
        overwrite: measure parts of another configuration again instead of refusing them.

    Raises:
        ConfigError: a part was made with another configuration.
        DataError: a set has no object that is large enough, or none of its images can be read.
        ModelError: a model cannot be loaded.
    """
    store, chosen = PartStore(out, overwrite), {s.name: choose(s.names, config.limit, config.seed) for s in sources}
    todo: dict[ModelSpec, list[tuple[Condition, dict[str, Any]]]] = {}
    for model in config.models:
        digest = fingerprint(model)
        for part in (Condition(model, source, level) for source in sources for level in config.levels):
            stamp = _stamp(config, part, chosen[part.source.name], digest)
            if store.is_done(str(model), part.source.name, str(part.level), stamp):
                progress(str(part), len(chosen[part.source.name]))
            else:
                todo.setdefault(model, []).append((part, stamp))
    for model, parts in todo.items():
        predictor = load(model)
        for part, stamp in parts:
            rows, failed = _measure_part(config, part, chosen[part.source.name], predictor, progress)
            store.write(str(model), part.source.name, str(part.level), stamp, rows, failed)
        del predictor  # before the next is loaded
    return collect(config, sources, store)


def collect(config: BenchmarkConfig, sources: Sequence[Source], store: PartStore) -> Results:
    """Rows of all finished parts of a run, in the order models, sets, levels.

    An image at a level that one model could not be measured on is left out for all, so that all means are of the same.
    """
    rows: list[Row] = []
    failed: dict[str, str] = {}
    lacking: set[tuple[str, str, str]] = set()
    for part in (Condition(m, s, level) for m in config.models for s in sources for level in config.levels):
        more, problems = store.read(str(part.model), part.source.name, str(part.level))
        rows += more
        failed.update({f"{part.source.name}/{name} at {part.level}": text for name, text in problems.items()})
        lacking |= {(part.source.name, str(part.level), name) for name in problems}
    return Results([row for row in rows if (row.set, row.level, row.image) not in lacking], failed)


def sharpness(image: npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an `(H, W, 3)` RGB image's grey values (0 to 255): the higher, the sharper."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def probes(sample: Sample, spec: PromptSpec, ids: Sequence[int], seed: int) -> list[Probe]:
    """Prompts of objects of an image."""
    found = []
    for object_id in ids:
        truth = sample.mask == object_id
        found.append(Probe(object_id, truth, prompt_for(spec, truth, sample.name, object_id, seed)))
    return found


def ask(predictor: PredictorLike, asked: Sequence[Probe]) -> list[Answer]:
    """Ask a predictor, whose image is set, for objects with prompts of one kind, a few at a time.

    Raises:
        ModelError: the answer has another number of masks, or masks of another size.
    """
    answers = []
    for start in range(0, len(asked), OBJECTS_AT_ONCE):
        some = asked[start : start + OBJECTS_AT_ONCE]
        begin = time.perf_counter()
        result = predictor.predict(**_arguments([probe.prompt for probe in some]))
        seconds = (time.perf_counter() - begin) / len(some)
        expected = (len(some), *some[0].truth.shape)
        if result.masks.shape != expected or len(result.scores) != len(some):
            raise ModelError(
                f"expected masks of shape {expected}, got {result.masks.shape}; the model breaks its contract"
            )
        pairs = zip(result.masks, result.scores, strict=True)
        answers += [Answer(mask.astype(bool), float(score), seconds) for mask, score in pairs]
    return answers


def _arguments(prompts: Sequence[DrawnPrompt]) -> dict[str, npt.NDArray[Any]]:
    """Arguments of `predict` for N prompts of one kind: `(N, K, 2)` points with labels, or `(N, 4)` boxes."""
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    if boxes:
        return {"boxes": np.stack(boxes)}
    points = np.stack([prompt.points for prompt in prompts if prompt.points is not None])
    return {"points": points, "labels": np.ones(points.shape[:2], np.int64)}


def _measure_part(
    config: BenchmarkConfig,
    part: Condition,
    names: list[str],
    predictor: PredictorLike,
    progress: Callable[[str, int], None],
) -> tuple[list[Row], dict[str, str]]:
    """Rows of one part, and its images that cannot be read or degraded, or that the model cannot take.

    Raises:
        DataError: no row came out.
    """
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name, loaded in _samples(config, part, names):
        try:
            found = loaded.result()
        except (DataError, ImageError) as error:
            failed[name] = str(error)
        else:
            try:
                rows += _measure_image(config, part, found, predictor)
            except ImageError as error:  # such as no restored file for it
                failed[name] = f"{part.model}: {error}"
        progress(str(part), 1)
    if not rows and failed:
        first = next(iter(failed))
        raise DataError(f"expected readable images in {part.source.name} at {part.level}, got none; {failed[first]}")
    if not rows:
        share = config.share_of(part.source.name)
        raise DataError(
            f"expected objects of at least {share:.2%} of the image in {part.source.name}, found none in "
            f"{len(names)} images; lower --min-share or check the masks with `glesam data check`"
        )
    return rows, failed


def _measure_image(config: BenchmarkConfig, part: Condition, loaded: Loaded, predictor: PredictorLike) -> list[Row]:
    """Rows of one image: encode it once, then ask for every object with every kind of prompt."""
    sample, clear = loaded
    share = config.share_of(part.source.name)
    if not object_ids(sample.mask, share):
        return []
    begin = time.perf_counter()
    predictor.set_image(sample.image, f"{part.source.name}/{part.level}/{sample.name}")
    encode_seconds = time.perf_counter() - begin
    seen = getattr(predictor, "seen_image", sample.image)  # foreign predictors restore nothing
    sharp, nearness = sharpness(seen), None if clear is None else psnr(seen, clear)
    rows = []
    for spec in config.prompts:
        for prompt, probe, answer in _answers(config, spec, sample, predictor, share):
            rows.append(
                Row(
                    str(part.model),
                    part.source.name,
                    str(part.level),
                    prompt,
                    sample.name,
                    probe.object_id,
                    float(probe.truth.mean()),
                    int(probe.truth.sum()),
                    *measure(answer.mask, probe.truth),
                    answer.score,
                    sharp,
                    encode_seconds,
                    answer.seconds,
                    nearness,
                )
            )
    return rows


def _answers(
    config: BenchmarkConfig, spec: PromptSpec, sample: Sample, predictor: PredictorLike, share: float
) -> Iterator[tuple[str, Probe, Answer]]:
    """Answers for all objects of an image with one kind of prompt; corrective clicks give one after each click."""
    ids = object_ids(sample.mask, share)
    # A few objects at a time: each takes two masks of the image's size, and a large image may show a thousand.
    for part in (ids[start : start + OBJECTS_AT_ONCE] for start in range(0, len(ids), OBJECTS_AT_ONCE)):
        if spec.kind != "clicks":
            asked = probes(sample, spec, part, config.seed)
            for probe, answer in zip(asked, ask(predictor, asked), strict=True):
                yield str(spec), probe, answer
            continue
        some = [Probe(i, sample.mask == i, DrawnPrompt()) for i in part]
        for number, done in enumerate(rounds(predictor, [probe.truth for probe in some], spec.count), 1):
            for probe, mask, score in zip(some, done.masks, done.scores, strict=True):
                yield str(replace(spec, count=number)), probe, Answer(mask, float(score), done.seconds / len(some))


def _samples(config: BenchmarkConfig, part: Condition, names: list[str]) -> Iterator[tuple[str, Future[Loaded]]]:
    """Read and degrade the next images in a thread while the model works on this one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[tuple[str, Future[Loaded]]] = deque()
        try:
            for name in names:
                waiting.append((name, pool.submit(_load, config, part, name)))
                if len(waiting) > _PREFETCH:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)


def _load(config: BenchmarkConfig, part: Condition, name: str) -> Loaded:
    """Read and degrade one image."""
    sample = part.source.load(name, part.level, config.seed, config.recipe)
    if part.level.is_clear:
        return Loaded(sample, sample.image)
    if part.level.moves_pixels:
        return Loaded(sample, None)
    return Loaded(sample, part.source.load(name, CLEAR, config.seed, config.recipe).image)


def _stamp(config: BenchmarkConfig, part: Condition, names: list[str], digest: str) -> dict[str, Any]:
    """All that acts on the rows of a part."""
    options = {"enhancer": part.model.enhancer, "restore": part.model.restore}
    return {
        **{key: value for key, value in options.items() if value is not None},
        "format": FORMAT,
        "model": part.model.name,
        "enhance": part.model.enhance,
        "refine": part.model.refine,
        "quality": part.model.quality,
        "weights": digest,
        "data": part.source.origin,
        FILES_KEY: part.source.fingerprint(names, part.level),
        "level": str(part.level),
        "prompts": [str(spec) for spec in config.prompts],
        "seed": config.seed,
        "recipe": config.recipe,
        "min_share": config.share_of(part.source.name),
        "pictures": len(names),
        "names": f"{stable_seed(*names):016x}",
    }
