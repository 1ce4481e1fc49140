from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from evaluate_helpers import make_folder

from glesam.data.base import Sample
from glesam.degrade import levels
from glesam.degrade.levels import Level, parse_level, parse_levels
from glesam.errors import ConfigError


def _sample(name: str = "p") -> Sample:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    mask = np.zeros((48, 64), np.int32)
    mask[10:40, 20:50] = 2
    return Sample(name, image, mask)


@pytest.mark.parametrize("text", ["clear", "lq1", "lq3", "robustseg:fog:3", "real:haze:5"])
def test_parse_and_print_are_inverse(text: str) -> None:
    assert str(parse_level(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lq4", "did you mean 'lq"),
        ("LQ-1", "did you mean 'lq1'"),
        ("cleer", "did you mean 'clear"),
        ("robustsg:fog:3", "did you mean 'robustseg"),
        ("robustseg:fog", "robustseg:KIND:SEVERITY"),
        ("robustseg:fogg:3", "did you mean 'fog"),
        ("real:haze:6", "severity of 1 to 5"),
        ("real:haze:1.0", "severity of 1 to 5"),
        ("robustseg:fog:3:4", "robustseg:KIND:SEVERITY"),
    ],
)
def test_unknown_levels_name_the_nearest(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        parse_level(text)
    assert message in str(caught.value)


def test_lists_and_all_kinds() -> None:
    assert parse_levels(["clear,lq1", "lq1"]) == (Level("clear"), Level("lq", severity=1))
    every = parse_levels(["robustseg:all:2"])
    assert len(every) == 15
    assert {level.severity for level in every} == {2}
    with pytest.raises(ConfigError, match="at least one level"):
        parse_levels([""])


def test_published_levels_are_the_fifteen_kinds() -> None:
    found = levels.published_levels()
    assert len({level.kind for level in found}) == 15
    assert all(parse_level(str(level)) == level for level in found)


def test_clear_is_the_same_object() -> None:
    sample = _sample()
    assert levels.apply(sample, levels.CLEAR, 0) is sample


@pytest.mark.parametrize("text", ["lq1", "lq3", "robustseg:fog:2", "real:defocus:3"])
def test_degradations_are_seeded_by_name_and_leave_the_mask(text: str) -> None:
    level = parse_level(text)
    once, again = (levels.apply(_sample(), level, 3) for _ in range(2))
    np.testing.assert_array_equal(once.image, again.image)
    assert once.image.shape == _sample().image.shape
    assert not np.array_equal(once.image, _sample().image)
    np.testing.assert_array_equal(once.mask, _sample().mask)
    if text.startswith("lq"):
        assert not np.array_equal(once.image, levels.apply(_sample("q"), level, 3).image)
        assert not np.array_equal(once.image, levels.apply(_sample(), level, 4).image)


def test_masks_move_with_their_pixels() -> None:
    moved = levels.apply(_sample(), parse_level("robustseg:elastic:5"), 0)
    assert set(np.unique(moved.mask)) <= {0, 2}
    assert not np.array_equal(moved.mask, _sample().mask)


def test_recipes_differ_and_unknown_ones_are_refused() -> None:
    level = parse_level("lq2")
    images = [levels.apply(_sample(), level, 0, recipe).image for recipe in levels.RECIPES]
    assert not np.array_equal(*images)
    with pytest.raises(ConfigError, match="did you mean 'test"):
        levels.apply(_sample(), level, 0, "tset")


def test_level_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        levels.CLEAR.kind = "fog"  # type: ignore[misc]


def test_helper_makes_a_readable_folder(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from glesam.data.readers.folder import FolderDataset

    assert len(FolderDataset(make_folder(tmp_path / "toy"))) == 4
