"""What the server keeps: encoded images by content hash, and embeddings of the latest ones, both within limits."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glesam.enhance.pipeline import Restoration
from glesam.predict.predictor import Predictor
from glesam.serve.refusals import RefusalError

if TYPE_CHECKING:
    from glesam.images.pixels import RGB


@dataclass(frozen=True)
class StoredImage:
    """An image as it was sent.

    Attributes:
        data: encoded bytes.
        size: `(H, W)` in pixels, upright.
    """

    data: bytes
    size: tuple[int, int]


class ImageStore:
    """Encoded images by content hash; drops the least recently used. For the event loop's thread only.

    Args:
        max_bytes: limit for all images together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.total_bytes = max_bytes, 0
        self._images: OrderedDict[str, StoredImage] = OrderedDict()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def put(self, key: str, image: StoredImage) -> None:
        """Keep an image; one with the same content is kept already."""
        if key not in self._images:
            self._images[key] = image
            self.total_bytes += len(image.data)
        self._images.move_to_end(key)
        while self.total_bytes > self.max_bytes:
            _, oldest = self._images.popitem(last=False)
            self.total_bytes -= len(oldest.data)

    def get(self, key: str) -> StoredImage:
        """Look an image up, which marks it as recently used.

        Raises:
            RefusalError: 404, it was never sent or has been dropped.
        """
        if key not in self._images:
            raise RefusalError(
                404, f"expected the id of an embedded image, got {key[:40]!r}, which is not here; embed it first"
            )
        self._images.move_to_end(key)
        return self._images[key]


class AbsentEmbeddingError(Exception):
    """The embedding is not in the cache, and there are no pixels to compute it from."""


class KeyedPredictor(Predictor):
    """A predictor that can return to an embedded image by its content hash, without the pixels."""

    _learned: str | None = None

    @classmethod
    def like(cls, base: Predictor, cache_size: int, dtype: str) -> KeyedPredictor:
        """Make one that shares the weights of another predictor, but not its modules.

        Threads may share modules (see `Predictor`), but what modules cache of the last image, such as its projections,
        would often belong to another lane. So each lane has modules of its own; weights are never written, and shared.
        """
        parts = (base.model, base.enhancer, base.gate)
        model, enhancer, gate = copy.deepcopy(parts, {id(tensor): tensor for tensor in _tensors(base)})
        made = cls(model, base.enhance, enhancer, gate, cache_size, dtype=dtype, name=base.name, restorer=base.restorer)
        made.refine, made.quality = base.refine, base.quality
        return made

    @property
    def embedded(self) -> int:
        """Number of images in the cache."""
        return len(self.session.embedder.cache)

    @property
    def degraded(self) -> bool | None:
        """The gate's verdict on the current image, or None where the mode does not ask it and it never was asked."""
        encoded = self.session.encoded
        self.session.embedder.enhances(encoded, True)  # asks it, if nobody did: an image may be known by another mode
        verdict = encoded.verdict
        return None if verdict is None else verdict.enhanced

    def has(self, key: str) -> bool:
        """Whether an image is in the cache; safe from any thread."""
        return key in self.session.embedder.cache

    def recall(self, key: str, pixels: RGB | None = None) -> bool:
        """Make a cached image the current one, with pixels only if they are given; False if it is not cached."""
        return self.session.recall(key, pixels)

    def learn(self, key: str, read: Callable[[], Iterable[tuple[RGB, npt.NDArray[np.bool_]]]]) -> None:
        """Remember examples in place of earlier ones, unless it is these that are remembered.

        Args:
            key: the same for the same examples.
            read: gives each image, `(H, W, 3)` uint8 RGB, with masks `(n, H, W)`.

        Raises:
            PromptError: masks of another size than their image, or an empty one.
        """
        if key == self._learned:
            return
        self.forget()
        self._learned = None
        for image, masks in read():
            self.remember_file(image, masks)
        self._learned = key

    def most_masks(self, pixels: int) -> int:
        """Masks of the current image that so many pixels are enough for; always one."""
        height, width = self.session.encoded.geometry.original_size
        return max(1, pixels // (height * width))

    def require_pixels(self) -> None:
        """Check that the current image has its pixels.

        Raises:
            AbsentEmbeddingError: it was recalled without them.
        """
        if self.session.current.pixels is None:
            raise AbsentEmbeddingError


def _tensors(base: Predictor) -> Iterator[Tensor]:
    """Weights and buffers of the model and of what restores embeddings for it."""
    restoration = Restoration.of(base.enhancer, base.gate)
    for module in (base.model, *(() if restoration is None else restoration.modules())):
        yield from module.parameters()
        yield from module.buffers()


class EmbeddingCache:
    """Embeddings of the latest images. Belongs to one lane's thread; only `in` is safe from others.

    Args:
        base: its weights are used.
        entries: number of images kept.
        dtype: as `Predictor` takes it.
    """

    def __init__(self, base: Predictor, entries: int, dtype: str = "float32") -> None:
        self._predictor = KeyedPredictor.like(base, entries, dtype)
        self.hits = self.misses = 0
        self._warm()

    def _warm(self) -> None:
        """Answer a click on a grey image: kernels are built at first use, and no request should wait for it."""
        self._predictor.set_image(np.full((64, 64, 3), 127, np.uint8))
        self._predictor.predict(points=[[32, 32]])
        self._predictor.reset()

    def __contains__(self, key: str) -> bool:
        """Whether an image is embedded."""
        return self._predictor.has(key)

    def __len__(self) -> int:
        """Number of images."""
        return self._predictor.embedded

    @property
    def evictions(self) -> int:
        """Embeddings that were dropped."""
        return self.misses - len(self)

    def get(self, key: str, pixels: RGB | None, enhance: str) -> KeyedPredictor:
        """The predictor with this image as its current one; encodes it if needed.

        Args:
            key: content hash.
            pixels: `(H, W, 3)` uint8 RGB, or None if the image should be in the cache.
            enhance: mode to set on the predictor.

        Raises:
            AbsentEmbeddingError: not in the cache, and no pixels.
            ModelError: the model has no enhancer and `enhance` is "on".
        """
        predictor = self._predictor
        predictor.enhance = enhance
        if predictor.recall(key, pixels):
            self.hits += 1
            return predictor
        if pixels is None:
            raise AbsentEmbeddingError
        predictor.set_image(pixels)
        self.misses += 1
        return predictor
