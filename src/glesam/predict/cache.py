"""The last images that a predictor has encoded, by content."""

from __future__ import annotations

from collections import OrderedDict

from glesam.errors import ConfigError
from glesam.predict.embeddings import Encoded


class EncodedImages:
    """Keeps the last `size` encoded images under the hash of their pixels, and lets the longest unused go.

    Raises:
        ConfigError: a size below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ConfigError(f"expected a cache_size of at least 1, got {size}; the default is 3")
        self._size = size
        self._kept: OrderedDict[str, Encoded] = OrderedDict()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._kept)

    def __contains__(self, key: object) -> bool:
        """Whether an image is kept; may be asked from any thread."""
        return key in self._kept

    def get(self, key: str) -> Encoded | None:
        """Look an image up; its place in the order stays."""
        return self._kept.get(key)

    def put(self, key: str, encoded: Encoded) -> None:
        """Keep an image as the last used."""
        self._kept[key] = encoded
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all images."""
        self._kept.clear()
