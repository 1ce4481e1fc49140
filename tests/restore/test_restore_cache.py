from pathlib import Path

import numpy as np
import pytest

from glesam.errors import DataError
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer
from glesam.restore.cache import CachedRestorer


class Inverted(Restorer):
    """Counts its calls."""

    calls = 0

    def __init__(self, offset: int = 0) -> None:
        super().__init__("inverted", {"offset": offset})
        self.offset = offset

    def apply(self, image: RGB, name: str | None) -> RGB:
        type(self).calls += 1
        return (255 - image + self.offset).astype(np.uint8)


def image(seed: int) -> RGB:
    return np.random.default_rng(seed).integers(10, 200, (5, 8, 3), dtype=np.uint8)


def test_each_image_is_restored_once(tmp_path: Path) -> None:
    Inverted.calls = 0
    cached = CachedRestorer(Inverted(), entries=2)
    for seed in (0, 1, 0, 1, 0):
        assert np.array_equal(cached.restore(image(seed)), 255 - image(seed))
    assert (Inverted.calls, cached.hits, cached.misses) == (2, 3, 2)
    cached.restore(image(2))  # drops the longest unused, 1
    cached.restore(image(0))
    assert Inverted.calls == 3
    cached.restore(image(1))
    assert Inverted.calls == 4


def test_a_folder_serves_later_runs_but_not_other_settings(tmp_path: Path) -> None:
    Inverted.calls = 0
    CachedRestorer(Inverted(), tmp_path).restore(image(0))
    later = CachedRestorer(Inverted(), tmp_path)
    assert np.array_equal(later.restore(image(0)), 255 - image(0))
    assert Inverted.calls == 1
    assert np.array_equal(CachedRestorer(Inverted(3), tmp_path).restore(image(0)), 258 - image(0).astype(int))
    assert Inverted.calls == 2


def test_what_is_kept_cannot_be_changed_from_outside() -> None:
    class Same(Inverted):
        def apply(self, image: RGB, name: str | None) -> RGB:
            return image

    given, cached = image(0), CachedRestorer(Same())
    cached.restore(given)
    first = image(0)
    given[:] = 0
    assert np.array_equal(cached.restore(first), first)
    assert not cached.restore(first).flags.writeable


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    with pytest.raises(DataError, match=r"expected to write into .*taken.*, got .*; check its rights"):
        CachedRestorer(Inverted(), tmp_path / "taken").restore(image(0))
