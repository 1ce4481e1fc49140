"""Every flag of the two published LQSeg recipes as a field of a frozen configuration.

`LqsegConfig.train()` is the on-line recipe that makes training pairs, `LqsegConfig.test()` the off-line one that made
the published test sets. They are not the same distribution: the test recipe sharpens first and its first resize is
wider. Sources: GleSAM (CVPR 2025, arXiv 2503.12507), whose pipeline is that of Real-ESRGAN (arXiv 2107.10833).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from glesam.errors import ConfigError

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end of an even distribution."""

KERNEL_TYPES = ("iso", "aniso", "generalised_iso", "generalised_aniso", "plateau_iso", "plateau_aniso")
KERNEL_SIZE = 21
SIZES = (7, 9, 11, 13, 15, 17, 19, 21)


# The checks come first: the defaults of the classes below are made, and hence checked, while this file is read.
def _check_share(name: str, value: float) -> None:
    """Refuse what is no probability."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"expected {name} between 0 and 1, got {value}; it is a probability")


def _check_range(name: str, value: Interval, lowest: float, highest: float = float("inf")) -> None:
    """Refuse an empty range or one that leaves `lowest..highest`."""
    if len(value) != 2 or not lowest <= value[0] <= value[1] <= highest:
        raise ConfigError(f"expected {name} as (low, high) with {lowest:g} <= low <= high <= {highest:g}, got {value}")


def _check_weights(name: str, value: Sequence[float], length: int) -> None:
    """Refuse weights that are negative, all zero, or of another number."""
    if len(value) != length or min(value) < 0 or sum(value) <= 0:
        raise ConfigError(f"expected {length} weights >= 0 for {name}, not all 0, got {tuple(value)}")


def _check_sizes(name: str, value: Sequence[int]) -> None:
    """Refuse kernels that have no centre or do not fit into the 21 x 21 frame."""
    if not value or any(size % 2 == 0 or not 1 <= size <= KERNEL_SIZE for size in value):
        raise ConfigError(f"expected odd sizes of 1 to {KERNEL_SIZE} for {name}, got {tuple(value)}; e.g. {SIZES}")


@dataclass(frozen=True)
class BlurConfig:
    """How one blur kernel is drawn.

    Attributes:
        probability: chance that the blur is applied at all.
        sizes: side lengths in pixels, odd, at most 21; one is drawn, each as likely.
        type_weights: weights of `KERNEL_TYPES`, in that order.
        sigma: standard deviation along each axis, in pixels.
        generalised_beta: shape of generalised Gaussians; below and above 1 are drawn with equal chance.
        plateau_beta: shape of plateau kernels, drawn the same way.
        sinc_probability: chance of a sinc (ideal low-pass) kernel in place of a Gaussian one.
    """

    probability: float = 1.0
    sizes: tuple[int, ...] = SIZES
    type_weights: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sigma: Interval = (0.2, 3.0)
    generalised_beta: Interval = (0.5, 4.0)
    plateau_beta: Interval = (1.0, 2.0)
    sinc_probability: float = 0.1

    def __post_init__(self) -> None:
        _check_share("blur.probability", self.probability)
        _check_share("blur.sinc_probability", self.sinc_probability)
        _check_sizes("blur.sizes", self.sizes)
        _check_weights("blur.type_weights", self.type_weights, len(KERNEL_TYPES))
        _check_range("blur.sigma", self.sigma, 1e-3)
        _check_range("blur.generalised_beta", self.generalised_beta, 1e-3)
        _check_range("blur.plateau_beta", self.plateau_beta, 1e-3)


@dataclass(frozen=True)
class ResizeConfig:
    """How one random resize is drawn.

    Attributes:
        weights: of enlarging, reducing and keeping the size.
        scale: smallest factor when reducing and largest when enlarging; both ranges end at 1.
    """

    weights: tuple[float, ...] = (0.1, 0.2, 0.7)
    scale: Interval = (0.5, 1.5)

    def __post_init__(self) -> None:
        _check_weights("resize.weights", self.weights, 3)
        _check_range("resize.scale", self.scale, 1e-3)
        if not self.scale[0] <= 1.0 <= self.scale[1]:
            raise ConfigError(f"expected resize.scale to enclose 1, got {self.scale}; give e.g. (0.5, 1.5)")


@dataclass(frozen=True)
class NoiseConfig:
    """How one noise is drawn.

    Attributes:
        gaussian_probability: chance of Gaussian noise; Poisson noise otherwise.
        gaussian_sigma: standard deviation in levels of 0..255.
        poisson_scale: factor on the Poisson noise; 1 is the photon noise of an image with 256 electrons at white.
        gray_probability: chance that the three channels share one noise.
    """

    gaussian_probability: float = 0.5
    gaussian_sigma: Interval = (1.0, 30.0)
    poisson_scale: Interval = (0.05, 3.0)
    gray_probability: float = 0.4

    def __post_init__(self) -> None:
        _check_share("noise.gaussian_probability", self.gaussian_probability)
        _check_share("noise.gray_probability", self.gray_probability)
        _check_range("noise.gaussian_sigma", self.gaussian_sigma, 0.0)
        _check_range("noise.poisson_scale", self.poisson_scale, 0.0)


@dataclass(frozen=True)
class OrderConfig:
    """One of the two orders: blur, then resize, then noise, then JPEG.

    Attributes:
        blur: the blur kernel.
        resize: the random resize.
        noise: the noise.
        jpeg_quality: of libjpeg, 1 to 100; a real number is drawn and cut to a whole one.
    """

    blur: BlurConfig = BlurConfig()
    resize: ResizeConfig = ResizeConfig()
    noise: NoiseConfig = NoiseConfig()
    jpeg_quality: Interval = (30.0, 95.0)

    def __post_init__(self) -> None:
        _check_range("jpeg_quality", self.jpeg_quality, 1.0, 100.0)


@dataclass(frozen=True)
class SharpenConfig:
    """Unsharp masking of the clean image before it is degraded.

    Attributes:
        radius: side of the Gaussian window in pixels; an even number is raised to the next odd one. Its sigma is
            OpenCV's for that window.
        weight: share of the difference to the blurred image that is added.
        threshold: smallest difference, in levels of 0..255, that is sharpened.
    """

    radius: int = 50
    weight: float = 0.5
    threshold: float = 10.0

    def __post_init__(self) -> None:
        if self.radius < 1:
            raise ConfigError(f"expected sharpen.radius >= 1, got {self.radius}; the published value is 50")


SECOND_ORDER = OrderConfig(
    BlurConfig(probability=0.8, sigma=(0.2, 1.5)),
    ResizeConfig((0.3, 0.4, 0.3), (0.3, 1.2)),
    NoiseConfig(gaussian_sigma=(1.0, 25.0), poisson_scale=(0.05, 2.5)),
)
"""The second order, which both recipes share."""


@dataclass(frozen=True)
class LqsegConfig:
    """A whole LQSeg recipe.

    Attributes:
        recipe: name in records and manifests.
        first: the first order.
        second: the second order.
        second_kernel: "own" blurs the second time with a kernel drawn for it, as the paper says; "reuse" with the
            first kernel again, as the published training code does (the second is then drawn and not used).
        scales: divisor of the image's size in the second resize for level 1, 2 and 3. `(2, 2, 2)` gives what the
            published test-set script makes whatever level it is asked for.
        scale_mixture: divisors to draw from, each as likely, when no level is given; empty where there is no mixture.
        sharpen: unsharp masking of the clean image; None for none.
        final_sinc_probability: chance of a sinc filter at the end; none is applied otherwise.
        final_sinc_sizes: side lengths of that filter, in pixels.
        sinc_first_probability: chance that resizing back and the sinc filter come before the last JPEG, not after.
        output_size: side in pixels of a square result, such as the published 512; None keeps the input's size.
        stored_jpeg_quality: one more JPEG at the end, as when the result is stored as `.jpg`; None for none.
    """

    recipe: str = "train"
    first: OrderConfig = OrderConfig()
    second: OrderConfig = SECOND_ORDER
    second_kernel: Literal["own", "reuse"] = "own"
    scales: tuple[int, ...] = (1, 2, 4)
    scale_mixture: tuple[int, ...] = (1, 2, 3, 3, 4, 4, 4, 4)
    sharpen: SharpenConfig | None = None
    final_sinc_probability: float = 0.8
    final_sinc_sizes: tuple[int, ...] = SIZES
    sinc_first_probability: float = 0.5
    output_size: int | None = None
    stored_jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        _check_share("final_sinc_probability", self.final_sinc_probability)
        _check_share("sinc_first_probability", self.sinc_first_probability)
        _check_sizes("final_sinc_sizes", self.final_sinc_sizes)
        if self.second_kernel not in ("own", "reuse"):
            raise ConfigError(f'expected second_kernel "own" or "reuse", got {self.second_kernel!r}; choose one')
        if len(self.scales) != 3 or any(scale < 1 for scale in (*self.scales, *self.scale_mixture)):
            raise ConfigError(f"expected three scales >= 1 and a mixture >= 1, got {self.scales}, {self.scale_mixture}")
        if self.output_size is not None and self.output_size < 1:
            raise ConfigError(f"expected output_size >= 1 or None, got {self.output_size}; the published one is 512")
        if self.stored_jpeg_quality is not None and not 1 <= self.stored_jpeg_quality <= 100:
            raise ConfigError(f"expected stored_jpeg_quality 1 to 100 or None, got {self.stored_jpeg_quality}")

    @classmethod
    def train(cls, **changes: Any) -> LqsegConfig:
        """The on-line recipe of the training pairs, with fields changed by name."""
        return replace(cls(), **changes)

    @classmethod
    def test(cls, **changes: Any) -> LqsegConfig:
        """The off-line recipe of the published test sets, with fields changed by name.

        It sharpens first and reduces the image more and more often in the first order; it has no mixture of levels.
        """
        first = OrderConfig(resize=ResizeConfig((0.2, 0.7, 0.1), (0.15, 1.5)))
        return replace(cls("test", first, sharpen=SharpenConfig(), scale_mixture=()), **changes)

    def digest(self) -> str:
        """Sixteen hex digits that tell two configurations apart, the same on every machine."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
