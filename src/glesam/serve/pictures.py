"""What the server remembers: encoded pictures by content, and the embeddings of the last ones, both bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glesam.serve.refusals import RefusalError

if TYPE_CHECKING:
    from torch import Tensor

    from glesam.pixels import RGB
    from glesam.predictor import Predictor


@dataclass(frozen=True)
class StoredPicture:
    """A picture as it came.

    Attributes:
        data: encoded bytes.
        size: `(H, W)` in pixels, as it is shown.
    """

    data: bytes
    size: tuple[int, int]


class PictureStore:
    """Encoded pictures by content hash, the longest unused of them dropped; touched by the event loop alone.

    Args:
        max_bytes: of all pictures together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.total_bytes = max_bytes, 0
        self._pictures: OrderedDict[str, StoredPicture] = OrderedDict()

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pictures)

    def put(self, key: str, picture: StoredPicture) -> None:
        """Keep a picture; of two with the same content the first stays."""
        if key not in self._pictures:
            self._pictures[key] = picture
            self.total_bytes += len(picture.data)
        self._pictures.move_to_end(key)
        while self.total_bytes > self.max_bytes:
            _, oldest = self._pictures.popitem(last=False)
            self.total_bytes -= len(oldest.data)

    def get(self, key: str) -> StoredPicture:
        """Look a picture up, which makes it the last used.

        Raises:
            RefusalError: 404, it never came or was dropped.
        """
        if key not in self._pictures:
            raise RefusalError(
                404, f"expected the id of an embedded picture, got {key[:40]!r}, which is not here; embed it first"
            )
        self._pictures.move_to_end(key)
        return self._pictures[key]


@dataclass
class VerdictGate:
    """A gate that remembers what it said of the one picture it was asked about."""

    gate: Callable[[Tensor], bool]
    degraded: bool | None = None

    def __call__(self, latent: Tensor) -> bool:
        """Ask the gate."""
        self.degraded = bool(self.gate(latent))
        return self.degraded


class AbsentEmbeddingError(Exception):
    """The embedding is not in the cache, and there are no pixels to make it from."""


class EmbeddingCache:
    """Embeddings of the last pictures, as one predictor each; they share one model.

    A predictor is not thread-safe, so a cache belongs to one lane's thread; only `in` may be asked from elsewhere.

    Args:
        base: its model, enhancer and gate are used, its own pictures are not.
        entries: pictures kept.
        dtype: as `Predictor` takes it.
    """

    def __init__(self, base: Predictor, entries: int, dtype: str = "float32") -> None:
        self._base, self._entries, self._dtype = base, entries, dtype
        self._predictors: OrderedDict[str, Predictor] = OrderedDict()
        self.hits = self.misses = self.evictions = 0

    def __contains__(self, key: str) -> bool:
        """Whether a picture is embedded."""
        return key in self._predictors

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._predictors)

    def get(self, key: str, pixels: RGB | None, enhance: str) -> Predictor:
        """The predictor whose current picture this is; encodes it where needed.

        Args:
            key: content hash.
            pixels: `(H, W, 3)` uint8 RGB, or None where it should be in the cache.
            enhance: mode that the predictor is set to.

        Raises:
            AbsentEmbeddingError: not in the cache, and no pixels.
            ModelError: the model has no enhancer and `enhance` is "on".
        """
        predictor = self._predictors.get(key)
        if predictor is not None:
            self.hits += 1
            predictor.enhance = enhance
            self._predictors.move_to_end(key)
            return predictor
        if pixels is None:
            raise AbsentEmbeddingError
        return self._encode(key, pixels, enhance)

    def _encode(self, key: str, pixels: RGB, enhance: str) -> Predictor:
        """Embed a picture and let the oldest go."""
        from glesam.predictor import Predictor

        self.misses += 1
        base = self._base
        gate = None if base.gate is None else VerdictGate(base.gate)
        predictor = Predictor(base.model, enhance, base.enhancer, gate, 1, dtype=self._dtype, name=base.name)
        predictor.set_image(pixels, key)
        self._predictors[key] = predictor
        while len(self._predictors) > self._entries:
            self._predictors.popitem(last=False)
            self.evictions += 1
        return predictor
