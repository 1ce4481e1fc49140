"""Augmentation: image and mask move together, objects stay in view, same seed gives the same bytes."""

import numpy as np
import pytest

from glesam.train.feed.augment import (
    PADDING_GREY,
    ViewConfig,
    ids_and_areas,
    jitter_colour,
    paste_object,
    random_view,
)


def photo(height=90, width=120):
    """Objects 1 and 2 are painted in colours that tell them: a warp that tore image and mask apart would show."""
    mask = np.zeros((height, width), np.int32)
    mask[10:50, 15:55], mask[30:80, 70:110] = 1, 2
    image = np.full((height, width, 3), 90, np.uint8)
    image[mask == 1], image[mask == 2] = (250, 0, 0), (0, 0, 250)
    return image, mask


def agreement(image, mask):
    """Share of pixels whose colour says the same as the mask."""
    told = np.where(image[..., 0].astype(int) - image[..., 2] > 80, 1, 0) + np.where(
        image[..., 2].astype(int) - image[..., 0] > 80, 2, 0
    )
    return (told == mask).mean()


@pytest.mark.parametrize("seed", range(12))
def test_image_and_mask_move_together(seed):
    image, mask = photo()
    view, ids = random_view(image, mask, 96, ViewConfig(frame=160), np.random.default_rng(seed))
    assert view.shape == (96, 96, 3)
    assert ids.shape == (96, 96)
    assert agreement(view, ids) > 0.95
    again, ids_again = random_view(image, mask, 96, ViewConfig(frame=160), np.random.default_rng(seed))
    assert np.array_equal(view, again)
    assert np.array_equal(ids, ids_again)


def test_focus_keeps_an_object_in_view():
    image, mask = photo(300, 400)
    mask[:] = 0
    mask[200:220, 300:330] = 1
    config = ViewConfig(frame=512, scale=(1.0, 1.0), focus=1.0, rotation=0.0)
    shown = [random_view(image, mask, 128, config, np.random.default_rng(s))[1].any() for s in range(30)]
    assert all(shown)


def test_padding_has_the_grey_of_inference_and_no_object():
    image, mask = photo(50, 200)
    config = ViewConfig(frame=64, scale=(1.0, 1.0), aspect=1.0, rotation=0.0)
    for seed in range(20):
        view, ids = random_view(image, mask, 64, config, np.random.default_rng(seed))
        outside = (view == PADDING_GREY).all(axis=-1)
        assert not ids[outside].any()


def test_views_fill_at_least_their_long_side():
    image, mask = photo(60, 120)
    image[:] = 10
    config = ViewConfig(frame=128, scale=(0.01, 0.02), aspect=1.0, rotation=0.0, focus=0.0)
    for seed in range(10):
        view, _ = random_view(image, mask, 64, config, np.random.default_rng(seed))
        filled = (view[..., 0] < 60).mean()
        assert filled > 0.45  # 0.5 for the whole photo, 1 where the short side fills the view


def test_colour_jitter_keeps_shape_and_differs_by_seed():
    image, _ = photo()
    a, b = jitter_colour(image, np.random.default_rng(0)), jitter_colour(image, np.random.default_rng(1))
    assert a.shape == image.shape
    assert a.dtype == np.uint8
    assert (a != b).any()
    assert np.array_equal(a, jitter_colour(image, np.random.default_rng(0)))


def test_pasted_object_is_a_new_id_over_its_own_pixels():
    image, mask = photo(96, 96)
    source = np.full((60, 60, 3), 200, np.uint8)
    source_mask = np.zeros((60, 60), np.int32)
    source_mask[10:50, 20:40] = 7
    pasted = 0
    for seed in range(10):
        out, ids = paste_object(image, mask, source, source_mask, np.random.default_rng(seed))
        new = ids == mask.max() + 1
        pasted += new.any()
        assert np.array_equal(ids[~new], mask[~new])
        assert np.array_equal(image, photo(96, 96)[0])  # the original is not written to
        changed = (out != image).any(axis=-1)
        # What changed is the object and its one-pixel soft edge.
        assert changed.sum() <= new.sum() + 3 * np.sqrt(new.sum()) * 4 + 8
    assert pasted >= 9


def test_pasting_from_a_photo_without_objects_changes_nothing():
    image, mask = photo(96, 96)
    out, ids = paste_object(image, mask, image, np.zeros_like(mask), np.random.default_rng(0))
    assert out is image
    assert ids is mask


def test_ids_and_areas_equal_unique():
    mask = np.random.default_rng(0).integers(0, 6, (40, 50)).astype(np.int32)
    ids, areas = ids_and_areas(mask)
    expected, counts = np.unique(mask[mask > 0], return_counts=True)
    assert ids.tolist() == expected.tolist()
    assert areas.tolist() == counts.tolist()
