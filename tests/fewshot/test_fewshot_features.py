"""Dense features against shares and means that are known."""

from __future__ import annotations

import numpy as np
import torch
from fewshot_scenes import BLUE, RED, SIZE, backbone, draw, mask_of

from glesam.fewshot.features import close_features, image_features

SCENE = [(32, 64, 64, RED), (224, 96, 96, BLUE)]


def test_cells_have_unit_length_and_cover_the_image_only() -> None:
    features = image_features(backbone, draw(SCENE))
    assert features.fine.shape == (7, 22, 32)  # 512 x 341, padded to 352
    torch.testing.assert_close(features.fine.norm(dim=0), torch.ones(22, 32))
    assert features.cells == (21, 32)
    assert features.joined().shape == (14, 21, 32)


def test_coverage_is_the_share_of_each_cell_s_pixels() -> None:
    # At this size a cell is 12 by 12 pixels of the image.
    features = image_features(backbone, np.zeros((*SIZE, 3), np.uint8))
    mask = np.zeros(SIZE, bool)
    mask[24:42, 36:60] = True
    expected = np.zeros((21, 32), np.float32)
    expected[2, 3:5], expected[3, 3:5] = 1, 0.5
    np.testing.assert_allclose(features.covered(mask).numpy(), expected, atol=0.02)


def test_pooled_features_are_the_object_s_own() -> None:
    features = image_features(backbone, draw(SCENE))
    red, blue = (features.pooled(mask_of(square))[0] for square in SCENE)
    assert float(red @ features.fine[:, 8, 5]) > 0.99
    assert float(blue @ features.fine[:, 12, 22]) > 0.99
    assert float(red @ blue) < 0.9


def test_features_inside_shares_are_those_of_the_masks() -> None:
    features = image_features(backbone, draw(SCENE))
    masks = [mask_of(square) for square in SCENE]
    shares = [features.covered(mask).numpy() for mask in masks]
    expected = torch.stack([features.pooled(mask)[0] for mask in masks])
    torch.testing.assert_close(features.inside(shares), expected, atol=1e-3, rtol=0)
    assert features.inside([np.zeros_like(shares[0])]).abs().sum() == 0


def test_a_close_look_does_not_depend_on_place_and_surroundings() -> None:
    here, there = (32, 64, 64, RED), (280, 150, 64, RED)
    scenes = ((here, SCENE[1]), (there, here))
    one, other = (close_features(backbone, draw(scene), [mask_of(scene[0])])[0].view(2, -1) for scene in scenes)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(2))
    assert float((one * other).sum(dim=1).min()) > 0.999
