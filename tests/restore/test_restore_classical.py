import cv2
import numpy as np
import pytest
from scipy.ndimage import median_filter
from skimage.metrics import peak_signal_noise_ratio

from glesam import images
from glesam.errors import ConfigError
from glesam.images.pixels import RGB
from glesam.restore.classical import noise_level
from glesam.restore.registry import load_restorer


@pytest.fixture(scope="module")
def photo() -> RGB:
    return images.read("examples/photos/chelsea.jpg")[40:240, 60:300]


def restore(text: str, image: RGB) -> RGB:
    restorer = load_restorer(text)
    assert restorer is not None
    before = image.copy()
    result = restorer.restore(image)
    assert np.array_equal(image, before)
    return result


def noisy(image: RGB, sigma: float) -> RGB:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [3, 5])
def test_median_is_scipys(photo: RGB, size: int) -> None:
    expected = np.stack([median_filter(photo[..., c], size, mode="nearest") for c in range(3)], axis=-1)
    assert np.array_equal(restore(f"median:{size}", photo), expected)


@pytest.mark.parametrize("sigma", [8.0, 20.0])
def test_noise_level_is_that_of_the_noise(photo: RGB, sigma: float) -> None:
    flat = noisy(np.full_like(photo, 127), sigma)
    # Grey is a weighted sum of three channels with independent noise.
    grey = sigma * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert noise_level(flat) == pytest.approx(grey, rel=0.05)
    assert noise_level(noisy(photo, sigma)) == pytest.approx(grey, rel=0.25)


def test_texture_is_no_noise(photo: RGB) -> None:
    """Fur and stripes: over the whole image the same Laplacian sees several grey values of noise."""
    half = np.asarray(cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    assert noise_level(half) < 2
    assert np.array_equal(restore("nlm", half), half)


def test_non_local_means_take_noise_away_and_leave_a_clean_plane(photo: RGB) -> None:
    low = noisy(photo, 20)
    before = peak_signal_noise_ratio(photo, low)
    assert peak_signal_noise_ratio(photo, restore("nlm", low)) > before + 3
    plane = np.full((40, 40, 3), (200, 60, 20), np.uint8)
    assert np.array_equal(restore("nlm", plane), plane)


@pytest.mark.parametrize("strength", [0.5, 1.9])
def test_a_strength_of_non_local_means_that_is_given_holds_below_the_floor_too(photo: RGB, strength: float) -> None:
    bgr = np.ascontiguousarray(photo[..., ::-1])
    expected = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 7, 21)[..., ::-1]
    assert not np.array_equal(expected, photo)
    assert np.array_equal(restore(f"nlm:{strength}", photo), expected)


def test_non_local_means_keep_channels_apart() -> None:
    """Red and blue swapped on the way in and not on the way out would show at once."""
    plane = noisy(np.full((60, 60, 3), (200, 60, 20), np.uint8), 5)
    assert np.allclose(restore("nlm:8", plane).mean(axis=(0, 1)), (200, 60, 20), atol=2)


def test_deblocking_brings_a_jpeg_nearer_to_its_original(photo: RGB) -> None:
    _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 15])
    low = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    result = restore("deblock:15", low)
    assert peak_signal_noise_ratio(photo, result) > peak_signal_noise_ratio(photo, low) + 0.3

    def blockiness(image: RGB) -> float:
        steps = np.abs(np.diff(image.astype(float), axis=1)).mean(axis=(0, 2))
        edges = np.arange(len(steps)) % 8 == 7
        return float(steps[edges].mean() / steps[~edges].mean())

    assert blockiness(result) < blockiness(low)


def test_deblocking_keeps_every_pixel_in_place() -> None:
    image = np.zeros((37, 45, 3), np.uint8)
    image[10:30, 12:33] = 255
    assert np.array_equal(restore("deblock:90", image) > 127, image > 127)


def test_gamma_is_a_power_and_lifts_dark_images_only(photo: RGB) -> None:
    expected = np.rint(255 * (photo / 255.0) ** 0.5).astype(np.uint8)
    assert np.array_equal(restore("gamma:0.5", photo), expected)
    dark = (photo // 6).astype(np.uint8)
    assert cv2.cvtColor(restore("gamma", dark), cv2.COLOR_RGB2GRAY).mean() / 255 == pytest.approx(0.45, abs=0.06)
    assert restore("gamma", photo + 0) is not None
    bright = np.full((8, 8, 3), 200, np.uint8)
    assert np.array_equal(restore("gamma", bright), bright)


def test_clahe_raises_local_contrast_and_keeps_colour(photo: RGB) -> None:
    flat = (photo // 4 + 96).astype(np.uint8)
    result = restore("clahe", flat)
    assert result.std() > 1.3 * flat.std()
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(int) for image in (flat, result))
    assert np.abs(before[..., 1:] - after[..., 1:]).mean() < 1.5


@pytest.mark.parametrize("text", ["median:4", "median:x", "nlm:-1", "deblock:96", "gamma:0", "clahe:nan"])
def test_arguments_out_of_range_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition(":")[0]):
        load_restorer(text)


@pytest.mark.parametrize("text", ["median", "nlm", "nlm:9", "deblock", "gamma", "clahe"])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (17, 3)])
def test_tiny_images_pass(text: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert restore(text, image).shape == image.shape
