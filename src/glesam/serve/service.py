"""The work behind the addresses: which lane does what, and what is remembered in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from glesam.errors import ConfigError, PromptError
from glesam.fewshot.search import MOST_LOOKS
from glesam.serve.budget import READ_BYTES, Budget, degrade_bytes, pixel_count
from glesam.serve.encoding import (
    answer_everything,
    answer_objects,
    decode_image,
    encoded_bytes,
    png,
    prompts_of,
)
from glesam.serve.likeness import example_set, find_like
from glesam.serve.metrics import Metrics, Reading, resident_bytes
from glesam.serve.queues import Lane
from glesam.serve.refusals import overloaded
from glesam.serve.stored_images import AbsentEmbeddingError, EmbeddingCache, ImageStore, KeyedPredictor, StoredImage
from glesam.text.base import parse_words
from glesam.text.find import FindOptions

if TYPE_CHECKING:
    from glesam.images.pixels import RGB
    from glesam.predict.predictor import Predictor
    from glesam.prompts.prompts import Prompts
    from glesam.serve.schemas import (
        DegradeRequest,
        EverythingRequest,
        ImageRequest,
        LikeRequest,
        SegmentRequest,
        TextRequest,
    )
    from glesam.serve.settings import ServerSettings

T = TypeVar("T")

QUICK_OBJECTS = 8
"""Objects up to which a request counts as a click; the decoder takes as many at once on a CPU."""

QUICK_MASK_PIXELS = 2**26
"""Pixels of masks up to which a request counts as a click."""

_LONG_SHARE, _LONG_ENTRIES = 4, 2
"""The part of the queue that long work may fill; images it keeps embedded."""

_WORD_OBJECTS = FindOptions().most
"""Objects of a word at most."""

_MASK_BYTES, _SEARCH_BYTES = 2, 8
"""Bytes for each pixel of a mask, from its refining to its encoding; of an image whose every object is sought."""


@dataclass
class Bench:
    """A lane with embeddings of its own, since predictors are not thread-safe.

    Attributes:
        lane: one thread.
        cache: touched by that thread alone.
    """

    lane: Lane
    cache: EmbeddingCache


@dataclass(frozen=True)
class Reservation:
    """Where a request is worked on.

    Attributes:
        bench: lane and embeddings.
        mask_bytes: memory that its masks take.
    """

    bench: Bench
    mask_bytes: int = 0


class Service:
    """Answers requests whose bodies are there; made before the event loop, used on it.

    Args:
        settings: limits.
        predictor: its model, enhancer and gate are used.
        metrics: gets gauges of queues and caches.
    """

    def __init__(self, settings: ServerSettings, predictor: Predictor, metrics: Metrics) -> None:
        self.settings, self.predictor, self.metrics = settings, predictor, metrics
        self.store, self.budget = ImageStore(settings.store_bytes), Budget(settings.work_bytes)
        length, part = settings.queue_length, max(1, settings.queue_length // _LONG_SHARE)
        self._quick = Bench(Lane("model", length), EmbeddingCache(predictor, settings.cache_entries, settings.dtype))
        self._long = Bench(Lane("long", part), EmbeddingCache(predictor, _LONG_ENTRIES, settings.dtype))
        self._decoder, self._degrader = Lane("decode", length, threads=2), Lane("degrade", part)
        self.lanes = (self._quick.lane, self._long.lane, self._decoder, self._degrader)
        self.active = 0
        self.made_by = _made_by(predictor, settings)
        self._add_gauges()

    def close(self, seconds: float | None = None) -> bool:
        """Finish what was accepted, within so many seconds for each lane; whether all work has ended."""
        ended = [lane.close(seconds) for lane in self.lanes]
        return all(ended)

    def give_up(self) -> None:
        """Answer what is accepted with 503, and stop its work; on the event loop."""
        for lane in self.lanes:
            lane.give_up()

    async def embed(self, data: bytes | str) -> dict[str, Any]:
        """Embed an image, given as its bytes or these in base64; see `EmbedAnswer`."""
        start = time.perf_counter()
        with self._accepted() as deadline:
            content = encoded_bytes(data, self.settings)
            async with self.budget.hold(self._reading(content), deadline):
                key, pixels = await self._receive(content, deadline)
                degraded = await self._run(self._quick, key, pixels, self.settings.enhance, _degraded, deadline)
        height, width = pixels.shape[:2]
        return {"id": key, "width": width, "height": height, "degraded": degraded, "milliseconds": _since(start)}

    async def segment(self, request: SegmentRequest) -> dict[str, Any]:
        """Segment objects; see `SegmentAnswer`."""
        start = time.perf_counter()
        prompts = prompts_of(request.objects, self.settings)

        def choose(size: tuple[int, int]) -> Reservation:
            prompts.check(size)
            return self._place(len(prompts), 4 if request.multimask else 1, size)

        job = partial(
            _segment,
            prompts=prompts,
            multimask=request.multimask,
            form=request.format,
            refine=self._refine(request),
            logits=request.logits,
        )
        answer = await self._answer(request, choose, request.enhance, job)
        return {**answer, "milliseconds": _since(start)}

    async def everything(self, request: EverythingRequest) -> dict[str, Any]:
        """Segment everything; see `EverythingAnswer`."""
        start = time.perf_counter()
        most = self.settings.max_points_per_side
        if (request.points_per_side or 0) > most:
            raise PromptError(f"expected at most {most} points_per_side, got {request.points_per_side}; ask for fewer")
        job = partial(
            _everything,
            points_per_side=request.points_per_side,
            form=request.format,
            refine=self._refine(request),
        )
        answer = await self._answer(request, self._alone, request.enhance, job)
        return {**answer, "milliseconds": _since(start)}

    async def text(self, request: TextRequest) -> dict[str, Any]:
        """Find what words name; see `TextAnswer`."""
        start, words = time.perf_counter(), parse_words(request.text)
        job = partial(
            _text, words=words, form=request.format, refine=self._refine(request), limit=self.settings.max_mask_pixels
        )
        choose = partial(self._alone, objects=_WORD_OBJECTS * len(words))
        answer = await self._answer(request, choose, request.enhance, job)
        return {**answer, "milliseconds": _since(start)}

    async def like(self, request: LikeRequest) -> dict[str, Any]:
        """Find what looks like examples; see `LikeAnswer`."""
        start, examples = time.perf_counter(), example_set(request.examples, self.store, self.settings)
        besides = sum(self._reading(stored.data) for stored, _ in examples.items) + examples.mask_bytes
        job = partial(
            find_like,
            examples=examples,
            threshold=request.threshold,
            form=request.format,
            refine=self._refine(request),
        )
        choose = partial(self._alone, besides=besides, objects=MOST_LOOKS)
        answer = await self._answer(request, choose, request.enhance, job)
        return {**answer, "milliseconds": _since(start)}

    async def degrade(self, request: DegradeRequest) -> tuple[str, bytes]:
        """Make an image worse: id and PNG of the result, which is remembered like one that was sent."""
        make = _degradation(request)
        with self._accepted() as deadline:
            data = encoded_bytes(self._source(request), self.settings)

            def job() -> tuple[str, bytes, RGB]:
                worse = make(decode_image(data, self.settings)[1])
                return _key(worse), png(worse), worse

            needed = pixel_count(data, self.settings.max_pixels) * max(READ_BYTES, degrade_bytes(request.kind))
            async with self.budget.hold(needed, deadline):
                key, content, worse = await self._degrader.run(job, deadline)
        if len(content) <= self.settings.store_bytes:
            self.store.put(key, StoredImage(content, (worse.shape[0], worse.shape[1])))
        return key, content

    async def _answer(
        self,
        request: ImageRequest,
        choose: Callable[[tuple[int, int]], Reservation],
        enhance: str | None,
        job: Callable[[KeyedPredictor], T],
    ) -> T:
        """Find or take the image of a request, and do the job on it."""
        mode = enhance or self.settings.enhance
        with self._accepted() as deadline:
            source = self._source(request)
            if request.id is not None:
                key, size = request.id, self.store.get(request.id).size
                return await self._on_stored(choose(size), key, mode, job, deadline)
            content = encoded_bytes(source, self.settings)
            async with self.budget.hold(self._reading(content), deadline):
                key, pixels = await self._receive(content, deadline)
                place = choose((pixels.shape[0], pixels.shape[1]))
                if place.bench is self._quick:
                    return await self._run(place.bench, key, pixels, mode, job, deadline)
                del pixels  # long work waits without them
            return await self._on_stored(place, key, mode, job, deadline)

    async def _on_stored(
        self, place: Reservation, key: str, mode: str, job: Callable[[KeyedPredictor], T], deadline: float
    ) -> T:
        """Do a job on an image that was sent before, whose embedding may have been dropped."""
        stored, bench = self.store.get(key), place.bench
        if key in bench.cache:
            try:
                async with self.budget.hold(place.mask_bytes, deadline):
                    return await self._run(bench, key, None, mode, job, deadline)
            except AbsentEmbeddingError:
                pass  # it was dropped while the job waited
        # Both at once: two that hold one part and wait for the other would wait forever.
        async with self.budget.hold(place.mask_bytes + self._reading(stored.data), deadline):
            _, pixels = await self._decoder.run(partial(decode_image, stored.data, self.settings), deadline)
            return await self._run(bench, key, pixels, mode, job, deadline)

    async def _run(
        self, bench: Bench, key: str, pixels: RGB | None, mode: str, job: Callable[[KeyedPredictor], T], deadline: float
    ) -> T:
        """Do a job in a bench's lane."""
        return await bench.lane.run(lambda: job(bench.cache.get(key, pixels, mode)), deadline)

    async def _receive(self, data: bytes, deadline: float) -> tuple[str, RGB]:
        """Decode a new image and remember it."""
        key, pixels = await self._decoder.run(partial(decode_image, data, self.settings), deadline)
        self.store.put(key, StoredImage(data, (pixels.shape[0], pixels.shape[1])))
        return key, pixels

    def _reading(self, data: bytes) -> int:
        """Bytes that an image takes from its file to its embedding."""
        return pixel_count(data, self.settings.max_pixels) * READ_BYTES

    def _refine(self, request: SegmentRequest | EverythingRequest | TextRequest | LikeRequest) -> str:
        """Whether the masks of a request are refined."""
        return request.refine or self.settings.refine

    def _source(self, request: ImageRequest) -> bytes | str:
        """The image that a request is about: bytes of a known one, or what was sent.

        Raises:
            PromptError: neither or both are given.
            RefusalError: 404, the id is unknown.
        """
        if (request.id is None) == (request.image is None):
            got = "none" if request.id is None else "both"
            raise PromptError(
                f"expected id or image, got {got}; give the id of an embedded image or an image in base64"
            )
        return self.store.get(request.id).data if request.id is not None else request.image or ""

    def _place(self, count: int, layers: int, size: tuple[int, int]) -> Reservation:
        """Where objects are segmented: clicks do not wait behind large requests."""
        pixels, most = count * layers * size[0] * size[1], self.settings.max_mask_pixels
        if pixels > most:
            raise PromptError(f"expected masks of at most {most} pixels together, got {pixels}; ask for fewer objects")
        if count <= QUICK_OBJECTS and pixels <= QUICK_MASK_PIXELS:
            return Reservation(self._quick)  # one at a time, and few: they need not wait for memory
        return Reservation(self._long, pixels * _MASK_BYTES)

    def _alone(self, size: tuple[int, int], besides: int = 0, objects: int = 0) -> Reservation:
        """Where an image is searched for all there is, with memory besides for other images and for whole masks."""
        pixels = size[0] * size[1]
        masks = min(objects * pixels, max(pixels, self.settings.max_mask_pixels))
        return Reservation(self._long, _SEARCH_BYTES * pixels + _MASK_BYTES * masks + besides)

    @contextmanager
    def _accepted(self) -> Iterator[float]:
        """Take a request on, unless there are too many; gives the time when its answer is due."""
        if self.active >= self.settings.queue_length:
            wait = max(lane.wait_seconds for lane in self.lanes)
            raise overloaded(f"expected at most {self.settings.queue_length} requests at once, got more; retry", wait)
        self.active += 1
        try:
            yield asyncio.get_running_loop().time() + self.settings.answer_seconds
        finally:
            self.active -= 1

    def _add_gauges(self) -> None:
        """Queues and caches for `/metrics`."""
        add, caches = self.metrics.add, {"model": self._quick.cache, "long": self._long.cache}
        add("glesam_active_requests", "gauge", "Requests accepted and not answered.", lambda: [({}, self.active)])
        queues = [({"lane": lane.name}, lane) for lane in self.lanes]
        add("glesam_queue_jobs", "gauge", "Jobs waiting or running.", lambda: [(k, v.pending) for k, v in queues])
        add("glesam_store_bytes", "gauge", "Encoded images.", lambda: [({}, self.store.total_bytes)])
        add("glesam_store_pictures", "gauge", "Images whose id is known.", lambda: [({}, len(self.store))])
        labelled = [({"lane": name}, cache) for name, cache in caches.items()]
        add("glesam_cache_entries", "gauge", "Embedded images.", lambda: [(k, len(c)) for k, c in labelled])
        for name in ("hits", "misses", "evictions"):
            read = partial(_read_counts, labelled, name)
            add(f"glesam_cache_{name}_total", "counter", f"Embedding cache: {name}.", read)
        add("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes)


def _read_counts(caches: list[tuple[dict[str, str], EmbeddingCache]], name: str) -> list[Reading]:
    return [(labels, getattr(cache, name)) for labels, cache in caches]


def _degraded(predictor: KeyedPredictor) -> bool | None:
    """What the gate said of a predictor's image."""
    return predictor.degraded


def _segment(
    predictor: Predictor, prompts: Prompts, multimask: bool, form: str, refine: str, logits: bool
) -> dict[str, Any]:
    """Predict, and encode at once: masks are large, and only one answer's are to be in memory."""
    predictor.refine = refine
    masks = predictor.predict(prompts, multimask=multimask)
    height, width = masks.size
    objects = answer_objects(masks, form, logits)
    return {"width": width, "height": height, "enhanced": bool(masks.info["enhanced"]), "objects": objects}


def _everything(predictor: Predictor, points_per_side: int | None, form: str, refine: str) -> dict[str, Any]:
    """Segment without prompts, and encode at once."""
    predictor.refine = refine
    masks = predictor.generate() if points_per_side is None else predictor.generate(points_per_side=points_per_side)
    height, width = masks.size
    enhanced = bool(masks.info["enhanced"])
    return {"width": width, "height": height, "enhanced": enhanced, "objects": answer_everything(masks, form)}


def _text(predictor: KeyedPredictor, words: Sequence[str], form: str, refine: str, limit: int) -> dict[str, Any]:
    """Find objects by words, and encode at once; which words were found is in the answer."""
    predictor.require_pixels()
    predictor.refine = refine
    masks = predictor.find_words(words, most=predictor.most_masks(limit))
    objects = [each | {"class_name": n} for each, n in zip(answer_objects(masks, form), masks.class_names, strict=True)]
    (height, width), facts = masks.size, masks.info
    sizes = {"width": width, "height": height}
    return sizes | {"enhanced": bool(facts["enhanced"]), "words": facts["words"], "objects": objects}


def _degradation(request: DegradeRequest) -> Callable[[RGB], RGB]:
    """The function that degrades as asked.

    Raises:
        ConfigError: not one of level and kind, a severity beside a level, or an unknown kind.
    """
    from glesam.common.seeds import UNNAMED, degradation_seed
    from glesam.degrade import lqseg, real, robustseg

    level, kind, severity, seed = request.level, request.kind, request.severity, request.seed
    path = PurePosixPath(request.name or "")
    name = str(path.with_suffix("")) if path.name else UNNAMED
    if (level is None) == (kind is None):
        got = "none" if level is None else "both"
        raise ConfigError(f"expected level or kind, got {got}; give a level of 1 to 3, or a kind with its severity")
    if level is not None:
        if severity is not None:
            raise ConfigError("expected a severity beside a kind, got one beside a level; leave it out")
        own = degradation_seed(name, f"lq{level}", seed)
        return lambda image: lqseg.degrade(image, level, own, recipe="test")
    from glesam.degrade.kind import find

    row = find({**robustseg.KINDS, **real.KINDS}, kind or "")
    module = robustseg if row.name in robustseg.KINDS else real
    family, strength = module.__name__.rsplit(".", 1)[1], severity or 3
    own = degradation_seed(name, f"{family}:{row.name}:{strength}", seed)
    return lambda image: module.degrade(image, row.name, strength, own)


def _made_by(predictor: Predictor, settings: ServerSettings) -> str:
    """A short digest of all that decides on masks besides the request."""
    facts = predictor.session.info(True) | {"quality": predictor.quality, "head": predictor.model.head_kind}
    facts |= {"refine": settings.refine, "dtype": settings.dtype}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _key(pixels: RGB) -> str:
    """Content hash of an image."""
    from glesam.images.reading import content_hash

    return content_hash(pixels)


def _since(start: float) -> float:
    """Milliseconds since a moment."""
    return round(1000 * (time.perf_counter() - start), 2)
