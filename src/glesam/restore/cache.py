"""Restored images that are kept by content: in memory, and in a folder if there is one."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from glesam import images
from glesam.common.files import write_bytes
from glesam.common.messages import slug
from glesam.common.pool import writing
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer


class CachedRestorer(Restorer):
    """Restores each image once; the key is the digest of its pixels with the restorer's name and settings.

    Args:
        inner: the restorer.
        folder: for PNG files that later runs take up; None keeps the last images in memory only.
        entries: images in memory, at least 1.
    """

    def __init__(self, inner: Restorer, folder: str | Path | None = None, entries: int = 4) -> None:
        super().__init__(inner.name, inner.settings)
        self.inner, self.by_name = inner, inner.by_name
        self._folder = None if folder is None else Path(folder) / f"{inner.name}-{inner.key}"
        self._entries, self._kept = max(1, entries), OrderedDict[str, RGB]()
        self.hits = self.misses = 0

    def apply(self, image: RGB, name: str | None) -> RGB:
        """Look the image up, else restore and keep it.

        Raises:
            DataError: the folder cannot be written.
        """
        key = images.content_hash(image) + (f"-{slug(name or '')}" if self.by_name else "")
        found = self._kept.get(key)
        if found is None:
            found = self._read(key)
        if found is None:
            self.misses += 1
            # A copy: what a restorer gives back may be the caller's own array, which may change.
            found = np.array(self.inner.restore(image, name))
            found.flags.writeable = False
            self._write(key, found)
        else:
            self.hits += 1
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)
        return found

    def _read(self, key: str) -> RGB | None:
        """The image in the folder, or None."""
        path = None if self._folder is None else self._folder / f"{key}.png"
        return images.read(path) if path is not None and path.is_file() else None

    def _write(self, key: str, image: RGB) -> None:
        """Keep an image in the folder, where there is one."""
        if self._folder is not None:
            _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            with writing(self._folder):
                write_bytes(self._folder / f"{key}.png", data.tobytes())
