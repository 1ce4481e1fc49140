"""Mixed qualities: against the statistics that MixStyle asks for, and AugMix's average computed apart."""

import cv2
import numpy as np
import pytest
import skimage.data

from glesam.train.feed.mixing import mix_statistics, mix_versions


class Shares:
    """A generator whose shares are given."""

    def __init__(self, beta, weights=None):
        self.share, self.weights = beta, weights

    def beta(self, a, b, size=None):
        return self.share if size is None else np.full(size, self.share)

    def dirichlet(self, alpha):
        assert (alpha == 1).all()
        return np.asarray(self.weights)


@pytest.fixture(scope="module")
def images():
    coffee = cv2.resize(skimage.data.coffee(), (151, 97), interpolation=cv2.INTER_AREA)
    cat = cv2.resize(skimage.data.chelsea(), (120, 80), interpolation=cv2.INTER_AREA)
    return coffee, cat


def test_no_share_of_the_other_image_leaves_the_image(images):
    coffee, cat = images
    assert np.abs(mix_statistics(coffee, cat, Shares(0.0)).astype(int) - coffee).max() <= 1


def test_a_whole_share_takes_the_other_images_colours_and_sharpness(images):
    coffee, cat = images
    blurred = cv2.GaussianBlur(cat, (0, 0), 3)
    mixed = mix_statistics(coffee, blurred, Shares(1.0))
    assert mixed.shape == coffee.shape
    # Clipping at black and white moves means a little.
    assert np.abs(mixed.mean(axis=(0, 1)) - blurred.mean(axis=(0, 1))).max() < 6

    def fine(image):
        return np.std(cv2.Laplacian(image.astype(np.float32), cv2.CV_32F))

    assert fine(mixed) < 0.5 * fine(coffee)


def test_half_a_share_lies_between(images):
    coffee, cat = images
    mixed = mix_statistics(coffee, cat, Shares(0.5))
    aim = (coffee.mean(axis=(0, 1)) + cat.mean(axis=(0, 1))) / 2
    assert np.abs(mixed.mean(axis=(0, 1)) - aim).max() < 6


def test_flat_and_tiny_images_are_taken(images):
    grey = np.full((5, 3, 3), 90, np.uint8)
    assert np.abs(mix_statistics(grey, grey, Shares(1.0)).astype(int) - 90).max() <= 1
    assert mix_statistics(grey, images[0], np.random.default_rng(0)).shape == grey.shape
    assert mix_statistics(images[0], grey, np.random.default_rng(0)).shape == images[0].shape


def test_versions_are_averaged_as_augmix_says(images):
    coffee, _ = images
    dark, light = coffee // 2, 255 - (255 - coffee) // 2
    mixed = mix_versions(coffee, [dark, light], Shares(0.25, [0.3, 0.7]))
    aim = 0.25 * coffee + 0.75 * (0.3 * dark + 0.7 * light)
    assert np.abs(mixed - aim).max() <= 0.51


def test_the_seed_decides(images):
    one, two = (mix_statistics(*images, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, mix_statistics(*images, np.random.default_rng(8)))
