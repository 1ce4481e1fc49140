"""The Label Studio example's conversions, against a decoder written from the format's description."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from glesam.errors import PromptError
from glesam.masks.masks import Masks

FILE = Path(__file__).parents[2] / "examples" / "label_studio" / "convert.py"
spec = importlib.util.spec_from_file_location("label_studio_convert", FILE)
convert = importlib.util.module_from_spec(spec)
spec.loader.exec_module(convert)


def decoded(rle: list[int]) -> np.ndarray:
    """Bytes of the image, as Label Studio's editor unpacks them: bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < total:
        run = read(1)
        length = read(sizes[read(2)]) + 1
        out += [read(word)] * length if run else [read(word) for _ in range(length)]
    assert len(out) == total
    return np.array(out, np.uint8)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans()))
def test_brush_rle_decodes_to_an_rgba_image_of_the_mask(mask):
    picture = decoded(convert.to_brush_rle(mask)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(picture, np.where(mask, 255, 0)[..., None].repeat(4, axis=2))


def test_runs_longer_than_one_code_can_say():
    mask = np.zeros((300, 400), bool)
    mask[100:290] = True
    picture = decoded(convert.to_brush_rle(mask)).reshape(300, 400, 4)
    np.testing.assert_array_equal(picture[..., 0] > 0, mask)


def region(kind: str, **value: float) -> dict:
    return {"type": kind, "original_width": 600, "original_height": 400, "value": value}


def test_percent_become_pixels():
    regions = [
        region("keypointlabels", x=50, y=25),
        region("keypointlabels", x=10, y=90) | {"is_positive": 0},
        region("rectanglelabels", x=10, y=20, width=30, height=50),
    ]
    group = convert.to_prompts(regions)
    [(_, part)] = group.check((400, 600)).groups()
    np.testing.assert_allclose(part.points, [[[300, 100], [60, 360]]])
    np.testing.assert_array_equal(part.labels, [[1, 0]])
    np.testing.assert_allclose(part.boxes, [[60, 80, 240, 280]])


def test_nothing_or_two_boxes_are_refused():
    box = region("rectanglelabels", x=10, y=20, width=30, height=50)
    for regions in ([], [box, box]):
        with pytest.raises(PromptError, match="one box"):
            convert.to_prompts(regions)


def test_the_result_is_a_brush_of_the_images_size():
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:9, 10:20] = True
    masks = Masks(mask, np.array([0.8], np.float32), info={"model": "compact"})
    result = convert.to_result(masks, "cup", "brush", "image")
    entry = result["result"][0]
    assert (entry["original_width"], entry["original_height"]) == (60, 40)
    assert entry["value"]["brushlabels"] == ["cup"]
    np.testing.assert_array_equal(decoded(entry["value"]["rle"]).reshape(40, 60, 4)[..., 3] > 0, mask[0])
