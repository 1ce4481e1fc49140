"""The discriminant against its textbook form."""

from __future__ import annotations

import numpy as np
import torch
from fewshot_scenes import BLUE, RED, backbone, draw, mask_of

from glesam.fewshot.discriminant import fisher, fit_discriminant
from glesam.fewshot.features import image_features


def test_the_direction_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    inside = rng.normal(size=(400, 5)) @ root + [1, 0, 2, 0, 0]
    outside = rng.normal(size=(900, 5)) @ root
    both = np.concatenate([inside - inside.mean(0), outside - outside.mean(0)])
    expected = np.linalg.inv(both.T @ both) @ (inside.mean(0) - outside.mean(0))
    found = fisher(torch.from_numpy(inside).float(), torch.from_numpy(outside).float(), ridge=0.0)
    weight = found.weight.numpy()
    assert weight @ expected / np.linalg.norm(weight) / np.linalg.norm(expected) > 0.9999
    np.testing.assert_allclose((inside @ weight + found.bias).mean(), 1, atol=1e-3)
    np.testing.assert_allclose((outside @ weight + found.bias).mean(), 0, atol=1e-3)


def test_the_map_is_high_on_things_like_the_marked_and_low_elsewhere() -> None:
    marked, other = (32, 64, 64, RED), (224, 96, 96, BLUE)
    features = image_features(backbone, draw([marked, other]))
    discriminant = fit_discriminant([features], [mask_of(marked)], [~mask_of(marked)])
    moved, moved_other = (256, 32, 80, RED), (64, 128, 80, BLUE)
    scene = image_features(backbone, draw([moved, moved_other]))
    values = torch.from_numpy(discriminant.map(scene))
    red, blue = (scene.covered(mask_of(square)) > 0.9 for square in (moved, moved_other))
    assert float(values[red].mean()) > 0.7
    assert float(values[blue].mean()) < 0.3
    assert abs(float(values[~red & ~blue].median())) < 0.2


def test_an_object_smaller_than_half_a_cell_still_counts() -> None:
    tiny = (100, 100, 6, RED)
    features = image_features(backbone, draw([tiny]))
    discriminant = fit_discriminant([features], [mask_of(tiny)], [~mask_of(tiny)])
    row, column = np.unravel_index(discriminant.map(features).argmax(), (21, 32))
    assert (row, column) == (8, 8)
