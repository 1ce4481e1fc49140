"""The ComfyUI node, called as ComfyUI calls nodes: by the names that it declares."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from glesam import Predictor
from glesam.errors import PromptError
from glesam.images.reading import read

ROOT = Path(__file__).parents[2]
BOXES = "75,15,470,385 520,20,590,120"


@pytest.fixture(scope="module")
def node() -> ModuleType:
    spec = importlib.util.spec_from_file_location("glesam_comfyui", ROOT / "examples" / "comfyui" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_node_gives_one_mask_an_image(node: ModuleType) -> None:
    ((_, kind),) = node.NODE_CLASS_MAPPINGS.items()
    wanted = kind.INPUT_TYPES()["required"]
    photo = read(ROOT / "examples" / "photos" / "coffee.jpg")
    batch = torch.from_numpy(np.stack([photo, photo[:, ::-1]])).float() / 255
    values = {name: options[1]["default"] for name, options in wanted.items() if len(options) > 1}
    mask, score = getattr(kind(), kind.FUNCTION)(image=batch, **values | {"boxes": BOXES})
    assert kind.RETURN_TYPES == ("MASK", "FLOAT")
    assert (mask.shape, mask.dtype) == ((2, *photo.shape[:2]), torch.float32)
    predictor = Predictor.from_pretrained("compact")
    predictor.set_image(photo)
    expected = predictor.predict(points=[[320, 200]]).masks[0]
    for box in ([75, 15, 470, 385], [520, 20, 590, 120]):
        expected = expected | predictor.predict(boxes=box).masks[0]
    both = (expected & (mask[0].numpy() > 0)).sum() / (expected | (mask[0].numpy() > 0)).sum()
    assert both > 0.995
    assert 0 < score < 1


def test_no_prompt_is_told(node: ModuleType) -> None:
    with pytest.raises(PromptError):
        node.GlesamSegment().segment(torch.zeros(1, 8, 8, 3), "", "", "compact")
