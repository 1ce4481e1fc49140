"""Soft edges: they follow the image where the mask does not, and deep inside and far outside nothing is soft."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import PromptError
from glesam.masks.cutout import soft_alpha, soft_cutout

TRUTH = np.hypot(*(np.mgrid[:200, :240] - np.array([100, 120])[:, None, None])) < 60
IMAGE = np.where(TRUTH[..., None], (220, 180, 90), (30, 60, 120)).astype(np.uint8)


def test_the_edge_moves_to_the_image_s() -> None:
    rough = np.roll(TRUTH, 2, axis=1)
    alpha = soft_alpha(IMAGE, rough)
    assert alpha.dtype == np.float32
    assert ((alpha > 0.5) ^ TRUTH).sum() < 0.5 * (rough ^ TRUTH).sum()


def test_deep_inside_is_opaque_and_far_outside_clear() -> None:
    alpha = soft_alpha(IMAGE, TRUTH)
    assert alpha[100, 120] == 1
    assert alpha[5, 5] == 0
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_the_cutout_hides_no_colours() -> None:
    rgba = np.asarray(soft_cutout(IMAGE, TRUTH))
    assert rgba.shape == (200, 240, 4)
    assert not rgba[rgba[..., 3] == 0].any()
    np.testing.assert_array_equal(rgba[100, 120], [220, 180, 90, 255])
    with pytest.raises(PromptError, match="resize"):
        soft_alpha(IMAGE, TRUTH[1:])
