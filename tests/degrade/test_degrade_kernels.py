"""Kernels against the reference numbers, against formulas written another way, and against SciPy's filters."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, ndimage

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg import kernels
from glesam.degrade.lqseg.config import KERNEL_TYPES, SIZES, BlurConfig, SharpenConfig

# Row 10, columns 10 to 13 of 21 x 21 kernels, as the published program gives them. The two shaped kernels are those of
# sigma (2, 1) at pi/4, which their numbers satisfy: ln(k0/k1) = 0.5 q^1.7 with q = (1/4 + 1) / 2.
REFERENCE = {
    "sinc": (kernels.sinc(21, math.pi / 2), (0.18402985, 0.13281487, 0.03334469, -0.02199880)),
    "iso": (kernels.gaussian(21, 1.5), (0.07073553, 0.05664058, 0.02908025, 0.00957301)),
    "aniso": (kernels.gaussian(21, 2.0, 1.0, math.pi / 4), (0.07957747, 0.05822012, 0.02279933, 0.00477900)),
    "generalised": (
        kernels.generalised_gaussian(21, 1.7, 2.0, 1.0, math.pi / 4),
        (0.11873922, 0.09482583, 0.01105629, 9.6e-6),
    ),
    "plateau": (
        kernels.plateau(21, 1.7, 2.0, 1.0, math.pi / 4),
        (0.08654935, 0.05969844, 0.01505766, 0.00436115),
    ),
}


def mahalanobis(size: int, sigma_x: float, sigma_y: float, theta: float) -> NDArray[np.float64]:
    """Squared distance by the inverse of the covariance matrix, pixel by pixel."""
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    centre = size // 2
    return np.array(
        [
            [np.array([x, y]) @ inverse @ np.array([x, y]) for x in range(-centre, centre + 1)]
            for y in range(-centre, centre + 1)
        ]
    )


def bessel_j1(x: float) -> float:
    """First-kind Bessel function by its integral (DLMF 10.9.2)."""
    return float(integrate.quad(lambda t: math.cos(t - x * math.sin(t)), 0.0, math.pi, epsabs=1e-13)[0] / math.pi)


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_numbers(name: str) -> None:
    kernel, expected = REFERENCE[name]
    # The last number of the generalised kernel is given to two digits only.
    tolerance = [1e-8, 1e-8, 1e-8, 5e-8 if name == "generalised" else 1e-8]
    assert (np.abs(kernel[10, 10:14] - expected) <= tolerance).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("sigma_x", "sigma_y", "theta"), [(0.2, 3.0, 0.7), (2.5, 0.9, -2.9), (1.1, 1.1, 0.0)])
def test_formulas_by_the_covariance_matrix(size: int, sigma_x: float, sigma_y: float, theta: float) -> None:
    q = mahalanobis(size, sigma_x, sigma_y, theta)
    for beta in (0.5, 1.0, 3.7):
        wide = np.exp(-0.5 * q**beta)
        flat = 1 / (1 + q**beta)
        shape = (beta, sigma_x, sigma_y, theta)
        assert_allclose(kernels.generalised_gaussian(size, *shape), wide / wide.sum(), atol=1e-12)
        assert_allclose(kernels.plateau(size, *shape), flat / flat.sum(), atol=1e-12)
    plain = np.exp(-0.5 * q)
    assert_allclose(kernels.gaussian(size, sigma_x, sigma_y, theta), plain / plain.sum(), atol=1e-12)


@pytest.mark.parametrize("cutoff", [math.pi / 5, 1.9, math.pi])
def test_sinc_by_the_integral_of_the_bessel_function(cutoff: float) -> None:
    size, centre = 9, 4
    expected = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            radius = math.hypot(row - centre, column - centre)
            value = cutoff / (4 * math.pi) * cutoff
            if radius:
                value = cutoff * bessel_j1(cutoff * radius) / (2 * math.pi * radius)
            expected[row, column] = value
    assert_allclose(kernels.sinc(size, cutoff), expected / expected.sum(), atol=1e-10)


def test_sinc_is_a_low_pass_of_its_cutoff() -> None:
    cutoff = 1.2
    response = np.abs(np.fft.fft2(kernels.padded(kernels.sinc(21, cutoff), 255)))[0, :128]
    frequency = 2 * np.pi * np.arange(128) / 255
    assert (response[frequency < 0.6 * cutoff] > 0.8).all()
    assert (response[frequency > 1.4 * cutoff] < 0.1).all()


def test_padding_keeps_the_centre() -> None:
    kernel = kernels.gaussian(7, 1.0)
    frame = kernels.padded(kernel)
    assert frame.shape == (21, 21)
    assert (frame[7:14, 7:14] == kernel).all()
    assert frame.sum() == pytest.approx(1.0, abs=1e-12)


def test_kernels_are_drawn_as_the_published_flags_say() -> None:
    config, n = BlurConfig(), 6000
    records = []
    for seed in range(n):
        draws = Draws(seed)
        kernel = kernels.draw_kernel(draws, "k", config)
        assert kernel.sum() == pytest.approx(1.0, abs=1e-9)
        assert kernel.shape == (draws.record["k.size"],) * 2
        records.append(draws.record)
    share = np.mean([record["k.sinc"] for record in records])
    assert abs(share - 0.1) < 5 * math.sqrt(0.09 / n)
    types = Counter(str(record["k.type"]) for record in records if not record["k.sinc"])
    total = sum(types.values())
    for name, weight in zip(KERNEL_TYPES, config.type_weights, strict=True):
        assert abs(types[name] / total - weight) < 5 * math.sqrt(weight * (1 - weight) / total)
    assert {record["k.size"] for record in records} == set(SIZES)
    cutoffs = [(record["k.size"], record["k.cutoff"]) for record in records if record["k.sinc"]]
    assert min(float(c) for s, c in cutoffs if int(s) < 13) >= math.pi / 3
    assert math.pi / 5 <= min(float(c) for s, c in cutoffs if int(s) >= 13) < math.pi / 3
    plateaus = [record["k.beta"] for record in records if str(record.get("k.type", "")).startswith("plateau")]
    assert abs(np.mean([beta == 1.0 for beta in plateaus]) - 0.5) < 5 * math.sqrt(0.25 / len(plateaus))
    wide = [record["k.beta"] for record in records if str(record.get("k.type", "")).startswith("generalised")]
    assert abs(np.mean([float(beta) < 1.0 for beta in wide]) - 0.5) < 5 * math.sqrt(0.25 / len(wide))
    assert min(map(float, wide)) < 0.6
    assert max(map(float, wide)) > 3.7


def test_a_drawn_kernel_is_the_one_that_its_record_tells() -> None:
    seen = set()
    for seed in range(200):
        draws = Draws(seed)
        kernel = kernels.draw_kernel(draws, "k", replace(BlurConfig(), sinc_probability=0.0))
        told = {name.removeprefix("k."): value for name, value in draws.record.items()}
        shape = str(told["type"])
        seen.add(shape)
        sigma = float(told["sigma_x"])
        q = mahalanobis(int(told["size"]), sigma, float(told.get("sigma_y", sigma)), float(told.get("theta", 0.0)))
        beta = float(told.get("beta", 1.0))
        raw = 1 / (1 + q**beta) if shape.startswith("plateau") else np.exp(-0.5 * q**beta)
        assert_allclose(kernel, raw / raw.sum(), atol=1e-12)
    assert seen == set(KERNEL_TYPES)


def test_final_sinc() -> None:
    drawn = [kernels.draw_final_sinc(Draws(seed), "s", 0.8, SIZES) for seed in range(2000)]
    share = sum(kernel is not None for kernel in drawn) / 2000
    assert abs(share - 0.8) < 5 * math.sqrt(0.16 / 2000)
    assert {kernel.shape[0] for kernel in drawn if kernel is not None} == set(SIZES)


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.gaussian(7, 0.2),
        kernels.gaussian(21, 3.0),
        kernels.gaussian(15, 2.5, 0.4, 0.9),
        kernels.sinc(13, 1.1),
        kernels.plateau(9, 1.5, 2.0),
    ],
)
@pytest.mark.parametrize("shape", [(40, 31, 3), (8, 8, 3), (3, 50, 3)])
def test_blur_is_scipys_correlation_with_mirrored_border(
    kernel: NDArray[np.float64], shape: tuple[int, int, int]
) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = np.stack(
        [ndimage.correlate(image[..., c].astype(np.float64), kernel, mode="mirror") for c in range(3)], axis=-1
    )
    assert_allclose(kernels.blur(image, kernel), expected, atol=2e-6)


def test_unsharp_mask_by_scipys_gaussian() -> None:
    image = np.random.default_rng(1).random((70, 90, 3)).astype(np.float32)
    image = ndimage.gaussian_filter(image, (2, 2, 0))
    image = (image - image.min()) / (image.max() - image.min())

    def smooth(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        # A window of 51 pixels has a sigma of 8 to OpenCV: 0.3 ((51 - 1) / 2 - 1) + 0.8.
        return np.asarray(ndimage.gaussian_filter(picture, (8, 8, 0), mode="mirror", radius=(25, 25, 0)))

    clean = image.astype(np.float64)
    residual = clean - smooth(clean)
    softness = smooth((np.abs(residual) * 255 > 10).astype(np.float64))
    expected = softness * np.clip(clean + 0.5 * residual, 0, 1) + (1 - softness) * clean
    assert_allclose(kernels.unsharp_mask(image, SharpenConfig()), expected, atol=1e-4)


def test_unsharp_mask_leaves_faint_texture_alone() -> None:
    image = np.full((60, 60, 3), 0.5, dtype=np.float32)
    image[::2] += 5 / 255  # half of it off the mean: below the threshold of 10 levels
    assert_allclose(kernels.unsharp_mask(image, SharpenConfig()), image, atol=1e-6)
