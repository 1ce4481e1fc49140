"""Features kept in memory and on disk: nearly the same numbers, and no second look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fewshot_scenes import BLUE, RED, backbone, draw
from torch import Tensor

from glesam.errors import DataError
from glesam.fewshot.cache import FeatureCache
from glesam.fewshot.features import image_features

IMAGE = draw([(32, 64, 64, RED), (224, 96, 96, BLUE)])


class Counting:
    """A backbone that counts its looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        self.looks += 1
        return backbone(pixels)


def test_an_image_is_looked_at_once(tmp_path: Path) -> None:
    looking = Counting()
    cache = FeatureCache(looking, tmp_path / "features")
    assert cache.of(IMAGE) is cache.of(IMAGE.copy())
    again = FeatureCache(looking, tmp_path / "features").of(IMAGE)
    assert looking.looks == 1
    fresh = image_features(backbone, IMAGE)
    assert float((again.fine * fresh.fine).sum(dim=0).min()) > 0.999
    assert float((again.coarse * fresh.coarse).sum(dim=0).min()) > 0.999
    assert again.share == pytest.approx(fresh.share)


def test_results_do_not_depend_on_whether_the_folder_knew_the_image(tmp_path: Path) -> None:
    first, second = (FeatureCache(backbone, tmp_path).of(IMAGE) for _ in range(2))
    assert torch.equal(first.fine, second.fine)
    assert torch.equal(first.coarse, second.coarse)
    assert first.share == second.share


def test_only_the_last_images_stay_in_memory() -> None:
    looking = Counting()
    cache = FeatureCache(looking)
    for _ in range(2):
        for shade in range(10):
            cache.of(np.full((64, 64, 3), shade * 20, np.uint8))
    assert looking.looks == 20


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    with pytest.raises(DataError, match=r"expected to write into .*taken, got .*; check its rights"):
        FeatureCache(backbone, tmp_path / "taken").of(IMAGE)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    FeatureCache(backbone, tmp_path).of(IMAGE)
    (path,) = tmp_path.glob("*.features.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"expected stored features in .*delete the file"):
        FeatureCache(backbone, tmp_path).of(IMAGE)
