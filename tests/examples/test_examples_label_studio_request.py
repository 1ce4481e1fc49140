"""The Label Studio backend on a request as the ML backend's API sends it (its `segment_anything` examples), end to end.

`label_studio_ml` is stood for by the two calls of its base class that the backend makes, unless it is installed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from glesam import Predictor

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "label_studio"
PHOTO = ROOT / "examples" / "photos" / "coffee.jpg"
README = (EXAMPLE / "README.md").read_text("utf-8")
CONFIG = README.split("```xml\n")[1].split("```")[0]
REQUEST: dict[str, Any] = {
    "tasks": [{"id": 3, "data": {"image": "/data/upload/1/coffee.jpg"}, "annotations": [], "predictions": []}],
    "project": "1.1700000000",
    "label_config": CONFIG,
    "params": {
        "login": None,
        "context": {
            "result": [
                {
                    "original_width": 600,
                    "original_height": 400,
                    "image_rotation": 0,
                    "value": {"x": 53.3, "y": 50.0, "width": 0.32, "keypointlabels": ["object"]},
                    "is_positive": True,
                    "id": "fBWv1t0S2L",
                    "from_name": "point",
                    "to_name": "image",
                    "type": "keypointlabels",
                    "origin": "manual",
                }
            ]
        },
    },
}


class Base:
    """`LabelStudioMLBase` as far as the backend uses it."""

    def get_first_tag_occurence(self, control: str, target: str) -> tuple[str, str, str]:
        """Names of the control and of its object, and the key of the task's data."""
        root = ElementTree.fromstring(CONFIG)
        found = root.find(control)
        assert found is not None
        image = next(tag for tag in root.iter(target) if tag.get("name") == found.get("toName"))
        return str(found.get("name")), str(found.get("toName")), str(image.get("value", "")).lstrip("$")

    def get_local_path(self, url: str, task_id: int | None = None) -> str:
        """The file behind an address of Label Studio."""
        assert (url, task_id) == ("/data/upload/1/coffee.jpg", 3)
        return str(PHOTO)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = Base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    spec = importlib.util.spec_from_file_location("label_studio_backend", EXAMPLE / "model.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made.GlesamBackend()
    sys.modules.pop("convert", None)


def test_a_click_comes_back_as_a_brush_on_the_same_image(backend: Any) -> None:
    (prediction,) = backend.predict(REQUEST["tasks"], context=REQUEST["params"]["context"])
    (region,) = prediction["result"]
    assert (region["from_name"], region["to_name"], region["type"]) == ("brush", "image", "brushlabels")
    assert region["value"]["format"] == "rle"
    assert region["value"]["brushlabels"] == ["object"]
    assert (region["original_width"], region["original_height"]) == (600, 400)
    assert 0 < region["score"] <= 1
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    alpha = np.reshape(brush.decode_rle(region["value"]["rle"]), (400, 600, 4))[..., 3] > 0
    predictor = Predictor.from_pretrained("compact")
    predictor.set_image(PHOTO)
    np.testing.assert_array_equal(alpha, predictor.predict(points=[[53.3 * 6, 200]]).masks[0])


def test_a_request_without_a_click_has_no_answer(backend: Any) -> None:
    assert backend.predict(REQUEST["tasks"], context={"result": []}) == []
    assert backend.predict(REQUEST["tasks"]) == []
