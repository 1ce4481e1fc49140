import numpy as np
import pytest

from glesam.common.boxes import pixel_box, pixel_window


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 61)])
@pytest.mark.parametrize("density", [0.003, 0.05, 0.9])
def test_it_is_the_range_of_the_pixels_coordinates(shape: tuple[int, int], density: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random(shape) < density
        ys, xs = mask.nonzero()
        expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None
        assert pixel_box(mask) == expected
        assert pixel_box(np.asfortranarray(mask)) == expected
        assert pixel_box(np.repeat(mask, 2, axis=1)[:, ::2]) == expected
        assert pixel_box(mask.astype(np.uint8) * 7) == expected


def test_no_pixels_have_no_box() -> None:
    for shape in ((0, 4), (4, 0), (4, 4)):
        assert pixel_box(np.zeros(shape, bool)) is None


@pytest.mark.parametrize("margin", [0, 2])
def test_the_window_holds_the_box_and_its_margin_within_the_array(margin: int) -> None:
    mask = np.zeros((9, 12), bool)
    assert mask[pixel_window(mask, margin)].size == 0
    mask[1:4, 5:11] = True
    near = np.zeros_like(mask)
    near[max(0, 1 - margin) : 4 + margin, 5 - margin : min(12, 11 + margin)] = True
    inside = np.zeros_like(mask)
    inside[pixel_window(mask, margin)] = True
    assert np.array_equal(inside, near)
