"""The pipeline: levels, seeds, records, and the whole chain against another composition of it."""

from __future__ import annotations

import io
import json
import math
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio as psnr

from glesam.degrade.draws import DrawRecord
from glesam.degrade.lqseg import kernels
from glesam.degrade.lqseg.config import BlurConfig, LqsegConfig, NoiseConfig, OrderConfig, ResizeConfig
from glesam.degrade.lqseg.pipeline import LEVELS, config_of, degrade, parse_level, replay
from glesam.errors import ConfigError, DataError, ImageError

RECIPES = ("train", "test")


def shrunk(photo: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = round(width * photo.shape[0] / photo.shape[1])
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    return [shrunk(photo, 240) for photo in (data.astronaut(), data.coffee(), data.cat())]


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_level_is_worse_than_the_one_before(photos: list[NDArray[np.uint8]], recipe: str) -> None:
    means = [
        np.mean([psnr(photo, degrade(photo, level, seed, recipe)) for photo in photos for seed in range(12)])
        for level in LEVELS
    ]
    assert means[0] > means[1] + 0.2
    assert means[1] > means[2] + 0.2


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("level", LEVELS)
def test_same_seed_same_bytes(photos: list[NDArray[np.uint8]], recipe: str, level: int) -> None:
    photo = photos[0]
    before = photo.copy()
    first = degrade(photo, level, 5, recipe)
    assert first.dtype == np.uint8
    assert first.shape == photo.shape
    assert (degrade(photo, level, 5, recipe) == first).all()
    assert (degrade(photo, level, 6, recipe) != first).any()
    assert (photo == before).all()


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.sampled_from([1, 2, 3, None]),
    st.integers(0, 2**63 - 1),
    st.sampled_from(RECIPES),
)
def test_any_image_keeps_its_size_and_replays_from_json(
    image: NDArray[np.uint8], level: int | None, seed: int, recipe: str
) -> None:
    level = level or (None if recipe == "train" else 1)
    record: DrawRecord = {}
    degraded = degrade(image, level, seed, recipe, record=record)
    assert degraded.shape == image.shape
    told = json.dumps(record)
    assert (replay(image, json.loads(told)) == degraded).all()
    again: DrawRecord = {}
    degrade(image, level, seed, recipe, record=again)
    assert json.dumps(again) == told


@pytest.mark.parametrize("shape", [(1, 400, 3), (400, 1, 3), (8, 8, 3), (301, 203, 3)])
def test_odd_and_tiny_sizes(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for seed in range(6):
        assert degrade(image, 3, seed, "test").shape == shape


def test_levels_of_one_seed_differ_by_the_divisor_alone(photos: list[NDArray[np.uint8]]) -> None:
    records = []
    for level in LEVELS:
        record: DrawRecord = {}
        degrade(photos[1], level, 11, record=record)
        assert record.pop("level") == level
        records.append(record)
    assert records[0] == records[1] == records[2]


def test_no_level_draws_from_the_published_mixture() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    drawn: Counter[object] = Counter()
    n = 1600
    for seed in range(n):
        record: DrawRecord = {}
        degrade(image, None, seed, record=record)
        drawn[record["resize2.divisor"]] += 1
    for divisor, share in {1: 1 / 8, 2: 1 / 8, 3: 1 / 4, 4: 1 / 2}.items():
        assert abs(drawn[divisor] / n - share) < 5 * math.sqrt(share * (1 - share) / n)


def test_the_chain_against_another_composition_of_it(photos: list[NDArray[np.uint8]]) -> None:
    """Without noise, every step is redone from the record with SciPy's filter and Pillow's JPEG."""
    still = NoiseConfig(1.0, (0.0, 0.0))
    config = LqsegConfig.train(
        first=OrderConfig(BlurConfig(sinc_probability=0), ResizeConfig((0.2, 0.7, 0.1), (0.4, 1.5)), still),
        second=OrderConfig(BlurConfig(0.8, sinc_probability=0), ResizeConfig((0.3, 0.4, 0.3), (0.3, 1.2)), still),
    )
    for seed in range(12):
        record: DrawRecord = {}
        level = 1 + seed % 3
        got = degrade(photos[0], level, seed, config=config, record=record)
        assert difference(recomposed(photos[0], record, config.scales[level - 1]), got) < 0.5


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean absolute difference in levels of 0..255."""
    return float(np.abs(a.astype(float) - b).mean())


def correlated(x: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(3)], axis=-1)


def coded(x: NDArray[np.float32], quality: object) -> NDArray[np.float32]:
    buffer = io.BytesIO()
    Image.fromarray(rounded(x)).save(buffer, "JPEG", quality=int(float(str(quality))), subsampling="4:2:0")
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32) / 255


def rounded(x: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)


def kernel_of(record: DrawRecord, name: str) -> NDArray[np.float64]:
    """The kernel that a record tells, where it is no sinc; a Gaussian has the shape 1 of the generalised ones."""
    sigma = float(record[f"{name}.sigma_x"])
    axes = (sigma, float(record.get(f"{name}.sigma_y", sigma)), float(record.get(f"{name}.theta", 0.0)))
    plateau = str(record[f"{name}.type"]).startswith("plateau")
    make = kernels.plateau if plateau else kernels.generalised_gaussian
    return make(int(record[f"{name}.size"]), float(record.get(f"{name}.beta", 1.0)), *axes)


def recomposed(photo: NDArray[np.uint8], record: DrawRecord, divisor: int) -> NDArray[np.uint8]:
    """The pipeline of a record whose blur kernels are no sinc and whose noise is none."""
    modes = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
    height, width = photo.shape[:2]
    x = photo.astype(np.float32) / 255
    for order, share in (("1", 1), ("2", divisor)):
        if record[f"blur{order}.applied"]:
            x = correlated(x, kernel_of(record, f"kernel{order}"))
        scale = float(record.get(f"resize{order}.scale", 1.0))
        size = (max(1, int(width / share * scale)), max(1, int(height / share * scale)))
        x = np.clip(cv2.resize(x, size, interpolation=modes[str(record[f"resize{order}.mode"])]), 0, 1)
        if order == "1":
            x = coded(x, record["jpeg1.quality"])
    if not record["final.sinc_first"]:
        x = coded(x, record["jpeg2.quality"])
    x = cv2.resize(x, (width, height), interpolation=modes[str(record["final.mode"])])
    if record["sinc.applied"]:
        x = correlated(x, kernels.sinc(int(record["sinc.size"]), float(record["sinc.cutoff"])))
    return rounded(coded(x, record["jpeg2.quality"]) if record["final.sinc_first"] else x)


def test_the_second_kernel_is_used_unless_the_first_is_reused(photos: list[NDArray[np.uint8]]) -> None:
    blurred = OrderConfig(BlurConfig(probability=1.0, sigma=(0.2, 0.21), sinc_probability=0.0))
    strong = OrderConfig(BlurConfig(probability=1.0, sigma=(2.9, 3.0), sinc_probability=0.0))
    own = LqsegConfig.train(first=blurred, second=strong)
    reuse = LqsegConfig.train(first=blurred, second=strong, second_kernel="reuse")
    sharpness = []
    for config in (own, reuse):
        gray = [cv2.cvtColor(degrade(photos[1], 1, s, config=config), cv2.COLOR_RGB2GRAY) for s in range(6)]
        # Noise comes after the blur: smooth it away, and compare what edges are left.
        sharpness.append(np.mean([np.abs(np.diff(ndimage.gaussian_filter(g.astype(float), 1.5))).mean() for g in gray]))
    assert sharpness[1] > 1.1 * sharpness[0]


def test_the_published_scripts_single_level_is_within_reach(photos: list[NDArray[np.uint8]]) -> None:
    config = LqsegConfig.test(scales=(2, 2, 2))
    first, second, third = (degrade(photos[0], level, 3, config=config) for level in LEVELS)
    assert (first == second).all()
    assert (third == degrade(photos[0], 2, 3, "test")).all()


def test_output_size_and_stored_jpeg(photos: list[NDArray[np.uint8]]) -> None:
    assert degrade(photos[1], 2, 0, config=LqsegConfig.test(output_size=512)).shape == (512, 512, 3)
    stored = degrade(photos[1], 1, 0, config=LqsegConfig.test(stored_jpeg_quality=10))
    plain = degrade(photos[1], 1, 0, "test")
    buffer = io.BytesIO()
    Image.fromarray(plain).save(buffer, "JPEG", quality=10, subsampling="4:2:0")
    assert difference(np.asarray(Image.open(buffer).convert("RGB")), stored) < 0.5
    assert psnr(photos[1], stored) < psnr(photos[1], plain)


def test_sharpening_is_part_of_the_test_recipe_only(photos: list[NDArray[np.uint8]]) -> None:
    config = LqsegConfig.test(sharpen=None)
    assert (degrade(photos[0], 1, 2, config=config) != degrade(photos[0], 1, 2, "test")).any()


def test_opencvs_threads_are_left_alone(photos: list[NDArray[np.uint8]]) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        many = degrade(photos[0], 2, 4, "test")
        assert cv2.getNumThreads() == 2
        cv2.setNumThreads(1)
        assert (degrade(photos[0], 2, 4, "test") == many).all()
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("level", [0, 4, -1, 1.5, "1", True])
def test_unknown_level(level: object) -> None:
    with pytest.raises(ConfigError, match="expected level 1, 2 or 3"):
        degrade(np.zeros((8, 8, 3), dtype=np.uint8), level, 0)  # type: ignore[arg-type]


def test_no_level_without_a_mixture() -> None:
    with pytest.raises(ConfigError, match="no mixture"):
        degrade(np.zeros((8, 8, 3), dtype=np.uint8), None, 0, "test")


@pytest.mark.parametrize(("recipe", "near"), [("tset", "'test'"), ("Train", "'train'"), ("xyz", "choose one")])
def test_unknown_recipe_gives_the_nearest(recipe: str, near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        config_of(recipe)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), dtype=np.uint8),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((8, 8, 3), dtype=np.float32),
        np.zeros((0, 8, 3), dtype=np.uint8),
        "photo.png",
    ],
)
def test_what_is_no_image(image: object) -> None:
    with pytest.raises(ImageError, match="uint8 RGB"):
        degrade(image, 1, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_impossible_seed(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed"):
        degrade(np.zeros((8, 8, 3), dtype=np.uint8), 1, seed)  # type: ignore[arg-type]


def test_records_of_another_configuration_are_refused(photos: list[NDArray[np.uint8]]) -> None:
    record: DrawRecord = {}
    config = LqsegConfig.train(second_kernel="reuse")
    degraded = degrade(photos[0], 1, 0, config=config, record=record)
    with pytest.raises(DataError, match="configuration"):
        replay(photos[0], record)
    assert (replay(photos[0], record, config) == degraded).all()
    with pytest.raises(DataError, match="'config'"):
        replay(photos[0], {"recipe": "train"})
    del record["jpeg1.quality"]
    with pytest.raises(DataError, match=r"jpeg1\.quality"):
        replay(photos[0], record, config)


@pytest.mark.parametrize("text", ["2", "lq2", "LQ-2", " lq_2 ", "Lq 2"])
def test_ways_to_write_a_level(text: str) -> None:
    assert parse_level(text) == 2


@pytest.mark.parametrize(
    ("text", "near"), [("lq4", "'lq3'"), ("9", "'lq3'"), ("l1", "'lq1'"), ("worst", "choose one"), ("", "choose one")]
)
def test_unknown_level_text_gives_the_nearest(text: str, near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        parse_level(text)


@given(st.text(max_size=6).filter(lambda text: not any(c.isdigit() for c in text)))
def test_text_without_a_digit_is_no_level(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a level"):
        parse_level(text)
