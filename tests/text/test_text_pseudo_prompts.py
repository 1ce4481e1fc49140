"""The pseudo-prompt generator on maps whose blobs are known, and its k-means against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from glesam.errors import ConfigError, PromptError
from glesam.text.pseudo_prompts import k_means, pseudo_prompts, spatial_softmax

CENTRES = [(6, 5), (30, 8), (18, 26)]


def blobs(centres: list[tuple[int, int]] = CENTRES, size: tuple[int, int] = (34, 40)) -> np.ndarray:
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    distances = [np.hypot(xs - x - 0.5, ys - y - 0.5) for x, y in centres]
    return 5 * np.exp(-np.square(np.min(distances, axis=0)) / 18).astype(np.float32)


def test_each_blob_gets_a_point_in_its_middle_and_a_region_around_it() -> None:
    prompts = pseudo_prompts(blobs(), regions=3, share=0.3)
    assert len(prompts) == 3
    assert sorted(map(tuple, prompts.points)) == sorted((x + 0.5, y + 0.5) for x, y in CENTRES)
    for point, region, box in zip(prompts.points, prompts.regions, prompts.boxes, strict=True):
        x, y = np.floor(point).astype(int)
        rows, columns = np.nonzero(region)
        assert region[y, x]
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert prompts.regions.sum(axis=0).max() == 1


def test_regions_are_what_is_above_the_share_of_the_largest_probability() -> None:
    values = blobs()
    expected = np.exp(values.astype(float)) >= 0.3 * np.exp(values.astype(float).max())
    np.testing.assert_array_equal(pseudo_prompts(values, 3, 0.3).regions.any(axis=0), expected)


def test_softmax_sums_to_one_and_stands_large_values() -> None:
    values = np.array([[1000.0, 1001.0], [999.0, 1000.0]], np.float32)
    probability = spatial_softmax(values)
    assert probability.sum() == pytest.approx(1)
    assert probability[0, 1] / probability[0, 0] == pytest.approx(np.e, rel=1e-5)


def test_the_same_seed_gives_the_same_prompts() -> None:
    values = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    first, second = pseudo_prompts(values, seed=3), pseudo_prompts(values, seed=3)
    np.testing.assert_array_equal(first.regions, second.regions)
    np.testing.assert_array_equal(first.points, second.points)


def test_fewer_cells_than_regions_give_fewer_regions() -> None:
    values = np.full((4, 4), -50, np.float32)
    values[1, 2] = values[3, 0] = 0
    prompts = pseudo_prompts(values, regions=5)
    assert sorted(map(tuple, prompts.points)) == [(0.5, 3.5), (2.5, 1.5)]


def test_a_flat_map_is_split_into_regions_that_cover_it() -> None:
    prompts = pseudo_prompts(np.zeros((6, 9), np.float32), regions=4)
    assert len(prompts) == 4
    assert prompts.regions.sum(axis=0).tolist() == np.ones((6, 9), int).tolist()


def test_k_means_finds_the_best_split_of_a_few_points() -> None:
    coords = np.array([[0, 0], [1, 0], [0, 1], [9, 9], [8, 9], [9, 8]], np.float32)

    def spread(owner: tuple[int, ...]) -> float:
        groups = [coords[np.array(owner) == g] for g in set(owner)]
        return float(sum(np.square(g - g.mean(axis=0)).sum() for g in groups))

    best = min(spread(owner) for owner in itertools.product((0, 1), repeat=6) if len(set(owner)) == 2)
    assert spread(tuple(k_means(coords, 2, seed=1))) == pytest.approx(best)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.zeros(4), np.full((2, 2), np.nan)])
def test_what_is_no_map_is_refused(values: np.ndarray) -> None:
    with pytest.raises(PromptError, match="expected a finite map"):
        pseudo_prompts(values.astype(np.float32))


@pytest.mark.parametrize("bad", [{"regions": 0}, {"share": 0.0}, {"share": 1.5}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected regions"):
        pseudo_prompts(blobs(), **bad)  # type: ignore[arg-type]
