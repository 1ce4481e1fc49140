"""The published flags, and configurations that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest

from glesam.degrade.lqseg.config import (
    SIZES,
    BlurConfig,
    LqsegConfig,
    NoiseConfig,
    OrderConfig,
    ResizeConfig,
    SharpenConfig,
)
from glesam.errors import ConfigError


def test_flags_of_the_on_line_recipe() -> None:
    config = LqsegConfig.train()
    assert config.first.blur == BlurConfig(
        1.0, SIZES, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03), (0.2, 3.0), (0.5, 4.0), (1.0, 2.0), 0.1
    )
    assert config.first.resize == ResizeConfig((0.1, 0.2, 0.7), (0.5, 1.5))
    assert config.first.noise == NoiseConfig(0.5, (1.0, 30.0), (0.05, 3.0), 0.4)
    assert config.first.jpeg_quality == config.second.jpeg_quality == (30.0, 95.0)
    assert config.second.blur == replace(config.first.blur, probability=0.8, sigma=(0.2, 1.5))
    assert config.second.resize == ResizeConfig((0.3, 0.4, 0.3), (0.3, 1.2))
    assert config.second.noise == NoiseConfig(0.5, (1.0, 25.0), (0.05, 2.5), 0.4)
    assert (config.final_sinc_probability, config.sinc_first_probability) == (0.8, 0.5)
    assert (config.scales, config.scale_mixture) == ((1, 2, 4), (1, 2, 3, 3, 4, 4, 4, 4))
    assert (config.sharpen, config.output_size, config.stored_jpeg_quality) == (None, None, None)
    assert config.second_kernel == "own"


def test_flags_of_the_off_line_recipe() -> None:
    config, train = LqsegConfig.test(), LqsegConfig.train()
    assert config.sharpen == SharpenConfig(50, 0.5, 10.0)
    assert config.first == replace(train.first, resize=ResizeConfig((0.2, 0.7, 0.1), (0.15, 1.5)))
    assert config.second == train.second
    assert config.scale_mixture == ()


def test_digest_tells_configurations_apart() -> None:
    configs = [
        LqsegConfig.train(),
        LqsegConfig.test(),
        LqsegConfig.train(second_kernel="reuse"),
        LqsegConfig.train(scales=(2, 2, 2)),
        LqsegConfig.train(first=OrderConfig(noise=NoiseConfig(gray_probability=0.0))),
    ]
    assert len({config.digest() for config in configs}) == len(configs)
    assert LqsegConfig.train().digest() == configs[0].digest()


def test_configurations_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        LqsegConfig.train().second_kernel = "reuse"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlurConfig(probability=1.1), "between 0 and 1"),
        (lambda: BlurConfig(sinc_probability=float("nan")), "between 0 and 1"),
        (lambda: BlurConfig(sizes=(8,)), "odd sizes"),
        (lambda: BlurConfig(sizes=(23,)), "odd sizes"),
        (lambda: BlurConfig(sizes=()), "odd sizes"),
        (lambda: BlurConfig(type_weights=(1.0, 1.0)), "6 weights"),
        (lambda: BlurConfig(type_weights=(0.0,) * 6), "6 weights"),
        (lambda: BlurConfig(sigma=(3.0, 0.2)), "low <= high"),
        (lambda: BlurConfig(sigma=(0.0, 0.2)), "low <= high"),
        (lambda: ResizeConfig(scale=(1.1, 1.5)), "enclose 1"),
        (lambda: ResizeConfig(weights=(0.5, -0.5, 1.0)), "3 weights"),
        (lambda: NoiseConfig(gaussian_sigma=(-1.0, 3.0)), "low <= high"),
        (lambda: NoiseConfig(gray_probability=-0.1), "between 0 and 1"),
        (lambda: OrderConfig(jpeg_quality=(0.0, 95.0)), "jpeg_quality"),
        (lambda: OrderConfig(jpeg_quality=(30.0, 101.0)), "jpeg_quality"),
        (lambda: SharpenConfig(radius=0), "radius >= 1"),
        (lambda: LqsegConfig.train(second_kernel="other"), "own"),
        (lambda: LqsegConfig.train(scales=(1, 2)), "three scales"),
        (lambda: LqsegConfig.train(scale_mixture=(0,)), "mixture >= 1"),
        (lambda: LqsegConfig.train(output_size=0), "output_size"),
        (lambda: LqsegConfig.train(stored_jpeg_quality=101), "stored_jpeg_quality"),
    ],
)
def test_impossible_values_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
