"""Made-up miniature copies of each layout; imported by the tests of the data room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

HEIGHT, WIDTH = 24, 32


def photo(seed: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """A noise image, RGB."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blob(value: int = 255, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """A mask with one rectangle of 8x10 pixels."""
    mask = np.zeros((height, width), np.uint8)
    mask[6:14, 4:14] = value
    return mask


def write(path: Path, rgb: npt.NDArray[Any]) -> Path:
    """Write an image; three channels are RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 and rgb.shape[2] == 3 else rgb):
        raise OSError(path)
    return path


def pairs(root: Path, images: str, masks: str, names: list[str]) -> None:
    """Images `<root>/<images>/<name>.jpg` and masks `<root>/<masks>/<name>.png`."""
    for seed, name in enumerate(names):
        write(root / images / f"{name}.jpg", photo(seed))
        write(root / masks / f"{name}.png", blob())


def coco(root: Path, split: str = "val2017", **changes: Any) -> Path:
    """A COCO set with two images: squares as polygon and run lengths, a crowd, and one image without object."""
    write(root / split / "000000000007.jpg", photo(7))
    write(root / split / "000000000009.jpg", photo(9))
    content: dict[str, Any] = {
        "info": {},
        "images": [
            {"id": 9, "file_name": "000000000009.jpg", "height": HEIGHT, "width": WIDTH},
            {"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            # The small one comes first: order in the file must not let the large one cover it.
            {"id": 1, "image_id": 7, "iscrowd": 0, "segmentation": [[8, 8, 12, 8, 12, 12, 8, 12]]},
            {"id": 2, "image_id": 7, "iscrowd": 0, "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]]},
            {"id": 3, "image_id": 7, "iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": crowd_counts()}},
        ],
        "categories": [{"id": 1, "name": "thing"}],
    } | changes
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def crowd_counts() -> list[int]:
    """Run lengths of the last two columns."""
    return [HEIGHT * (WIDTH - 2), HEIGHT * 2]
