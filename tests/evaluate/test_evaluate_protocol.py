from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.common.messages import hint, slug
from glesam.common.seeds import generator, stable_seed
from glesam.errors import ConfigError, PromptError
from glesam.evaluate.measure.protocol import (
    PromptSpec,
    parse_prompt,
    parse_prompts,
    prompt_for,
    shake_box,
)


def _disc(height: int = 40, width: int = 60) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    return np.hypot(ys - 18, xs - 30) < 10


@pytest.mark.parametrize("text", ["points:1", "points:10", "box", "noisy-box:0.2"])
def test_parse_and_print_are_inverse(text: str) -> None:
    assert str(parse_prompt(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("point:3", "did you mean 'points"),
        ("noisy_box:0.2", "did you mean 'noisy-box"),
        ("points", "such as points:3"),
        ("points:0", "from 1 to 100"),
        ("points:-2", "from 1 to 100"),
        ("points:2.5", "from 1 to 100"),
        ("points:101", "from 1 to 100"),
        ("points:\u0663", "from 1 to 100"),
        ("box:3", "without a number"),
        ("noisy-box", "noisy-box:0.2"),
        ("noisy-box:nan", "0 < R <= 1"),
        ("noisy-box:0", "0 < R <= 1"),
        ("noisy-box:1.5", "0 < R <= 1"),
        ("zzz", "known are points, box, noisy-box"),
        ("", "expected a prompt"),
    ],
)
def test_malformed_prompts_name_the_cure(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        parse_prompt(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        spec = parse_prompt(text)
    except ConfigError:
        return
    assert parse_prompt(str(spec)).kind == spec.kind


def test_lists_ranges_and_repetitions() -> None:
    specs = parse_prompts(["points:1..3,box", " points:3 "])
    assert [str(s) for s in specs] == ["points:1", "points:2", "points:3", "box"]
    for bad in (["points:3..1"], ["points:0..4"], ["points:1..1000"]):
        with pytest.raises(ConfigError, match=r"points:A\.\.B"):
            parse_prompts(bad)
    with pytest.raises(ConfigError, match="at least one prompt"):
        parse_prompts([" , "])


def test_of_several_numbers_of_clicks_the_most_is_asked_for_once() -> None:
    assert [str(s) for s in parse_prompts(["clicks:5,box,clicks:10,points:3"])] == ["box", "clicks:10", "points:3"]


def test_clicks_are_nested() -> None:
    truth = _disc()
    ten = prompt_for(PromptSpec("points", 10), truth, "photo", 4, 7).points
    assert ten is not None
    for count in range(1, 10):
        fewer = prompt_for(PromptSpec("points", count), truth, "photo", 4, 7).points
        np.testing.assert_array_equal(fewer, ten[:count])


def test_prompts_depend_on_names_and_seed_only() -> None:
    truth = _disc()
    spec = PromptSpec("points", 3)
    first = prompt_for(spec, truth, "a", 1, 0).points
    for other in (("b", 1, 0), ("a", 2, 0), ("a", 1, 1)):
        assert not np.array_equal(first, prompt_for(spec, truth, *other).points)
    np.testing.assert_array_equal(first, prompt_for(spec, truth, "a", 1, 0).points)


def test_box_edges() -> None:
    truth = np.zeros((10, 12), bool)
    truth[3:6, 4:9] = True
    drawn = prompt_for(PromptSpec("box"), truth, "a", 1, 0)
    np.testing.assert_array_equal(drawn.box, [4, 3, 9, 6])
    assert drawn.points is None


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1.0), st.integers(0, 2**30), st.data())
def test_shaken_boxes_stay_valid(height: int, width: int, noise: float, seed: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    box = shake_box(np.array([x0, y0, x1, y1], np.float32), noise, (height, width), np.random.default_rng(seed))
    assert box[0] >= 0
    assert box[1] >= 0
    assert box[2] <= width
    assert box[3] <= height
    assert box[2] - box[0] >= 1 - 1e-4
    assert box[3] - box[1] >= 1 - 1e-4


def test_shake_is_uniform_within_the_ratio_of_the_side() -> None:
    box = np.array([100, 200, 140, 300], np.float32)
    moved = np.array([shake_box(box, 0.2, (1000, 1000), generator("s", i)) - box for i in range(2000)])
    limits = 0.2 * np.array([40, 100, 40, 100])
    assert (np.abs(moved) <= limits + 1e-3).all()
    # A uniform law on [-1, 1] has standard deviation 1 / sqrt(3); with 2000 draws the error is below 3 %.
    np.testing.assert_allclose(moved.std(axis=0) / limits, 1 / np.sqrt(3), rtol=0.06)
    assert np.abs(moved.mean(axis=0) / limits).max() < 0.06


def test_empty_objects_are_refused() -> None:
    empty = np.zeros((5, 5), bool)
    for spec in (PromptSpec("points", 2), PromptSpec("box"), PromptSpec("noisy-box", noise=0.2)):
        with pytest.raises(PromptError, match="empty mask"):
            prompt_for(spec, empty, "a", 1, 0)


def test_stable_seed_is_the_first_bits_of_sha256() -> None:
    digest = hashlib.sha256(b"photo\x003\x000").hexdigest()
    assert stable_seed("photo", 3, 0) == int(digest[:16], 16) >> 1
    assert stable_seed("ab", "c") != stable_seed("a", "bc")


def test_slug_is_a_plain_name_and_keeps_names_apart() -> None:
    assert slug("compact@enhance=off") == "compact@enhance=off"
    tricky = ["a/b", "a:b", "a-b", "../x", ".x", "x" * 200, "x" * 201, "", "ä"]
    slugs = [slug(name) for name in tricky]
    assert len(set(slugs)) == len(tricky)
    assert all("/" not in s and not s.startswith(".") and 0 < len(s) < 100 for s in slugs)


def test_hint_lists_all_when_nothing_is_near() -> None:
    assert hint("ecsd", ["ecssd", "coco"]) == "did you mean 'ecssd'?"
    assert hint("qqq", ["ecssd", "coco"]) == "known are ecssd, coco"
