"""A small model with random weights, saved as a user would have it, and a folder of small photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def folder_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small compact model with masks of its own for each photo, to be told apart in tables.

    Commands in processes of their own load it without transformers.
    """
    from train_tiny import tiny_model

    folder: Path = tiny_model(tmp_path_factory.mktemp("folder-model"))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photos of smooth random colours."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        blobs = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize((60, 40), Image.Resampling.BICUBIC).save(folder / f"p{number}.jpg")
    return folder
