"""What the server remembers: encoded images by content, and the embeddings of the last ones, both bounded."""

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
    """An image as it came.

    Attributes:
        data: encoded bytes.
        size: `(H, W)` in pixels, as it is shown.
    """

    data: bytes
    size: tuple[int, int]


class ImageStore:
    """Encoded images by content hash, the longest unused of them dropped; touched by the event loop alone.

    Args:
        max_bytes: of all images together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.total_bytes = max_bytes, 0
        self._images: OrderedDict[str, StoredImage] = OrderedDict()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def put(self, key: str, image: StoredImage) -> None:
        """Keep an image; of two with the same content the first stays."""
        if key not in self._images:
            self._images[key] = image
            self.total_bytes += len(image.data)
        self._images.move_to_end(key)
        while self.total_bytes > self.max_bytes:
            _, oldest = self._images.popitem(last=False)
            self.total_bytes -= len(oldest.data)

    def get(self, key: str) -> StoredImage:
        """Look an image up, which makes it the last used.

        Raises:
            RefusalError: 404, it never came or was dropped.
        """
        if key not in self._images:
            raise RefusalError(
                404, f"expected the id of an embedded image, got {key[:40]!r}, which is not here; embed it first"
            )
        self._images.move_to_end(key)
        return self._images[key]


class AbsentEmbeddingError(Exception):
    """The embedding is not in the cache, and there are no pixels to make it from."""


class KeyedPredictor(Predictor):
    """A predictor that goes back to an embedded image by its content hash, without pixels."""

    _learned: str | None = None

    @classmethod
    def like(cls, base: Predictor, cache_size: int, dtype: str) -> KeyedPredictor:
        """Make one with the weights of another, whose modules it does not share.

        Threads may share modules (see `Predictor`), but what these keep of the last image, such as its projections,
        would be another lane's as often as not. So each lane has its own; weights are never written, and are shared.
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
        """What the gate said of the current image; None where it was not asked."""
        verdict = self.session.encoded.verdict
        return None if verdict is None else verdict.enhanced

    def has(self, key: str) -> bool:
        """Whether an image is in the cache; may be asked from any thread."""
        return key in self.session.embedder.cache

    def recall(self, key: str, pixels: RGB | None = None) -> bool:
        """Make an image of the cache the current one, with its pixels only if they are given; False without it."""
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

    def require_pixels(self) -> None:
        """Ask for the current image's pixels.

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
    """Embeddings of the last images; belongs to one lane's thread, only `in` may be asked from elsewhere.

    Args:
        base: its weights are used.
        entries: images kept.
        dtype: as `Predictor` takes it.
    """

    def __init__(self, base: Predictor, entries: int, dtype: str = "float32") -> None:
        self._predictor = KeyedPredictor.like(base, entries, dtype)
        self.hits = self.misses = 0
        self._warm()

    def _warm(self) -> None:
        """Answer a click on a grey image: kernels are made at their first use, and nobody shall wait for that."""
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
        """The predictor with this image as its current one; encodes it where needed.

        Args:
            key: content hash.
            pixels: `(H, W, 3)` uint8 RGB, or None where it should be in the cache.
            enhance: mode that the predictor is set to.

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
