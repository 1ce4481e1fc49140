"""Draws: distributions, names, records and replays."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.common.seeds import seed_for
from glesam.degrade.draws import DrawRecord, Draws
from glesam.errors import ConfigError, DataError


def everything(draws: Draws) -> list[object]:
    return [
        draws.uniform("u", -2.0, 3.0),
        draws.normal("n", 1.0, 2.0),
        draws.integer("i", 3, 5),
        draws.flag("f", 0.5),
        draws.choice("c", ("a", "b", "c"), (1.0, 2.0, 3.0)),
        draws.choice("d", (4, 5)),
        draws.field("noise").standard_normal(3).tolist(),
    ]


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_same_seed_same_draws_and_the_record_replays_through_json(seed: int) -> None:
    draws = Draws(seed)
    values = everything(draws)
    record: DrawRecord = json.loads(json.dumps(draws.record))
    assert list(record) == ["u", "n", "i", "f", "c", "d", "noise"]
    assert everything(Draws(seed)) == values
    again = Draws.replay(record)
    assert everything(again) == values
    assert again.record == draws.record


def test_distributions() -> None:
    draws = Draws(0)
    n = 4000
    uniform = [draws.uniform(f"u{i}", 2.0, 4.0) for i in range(n)]
    normal = [draws.normal(f"n{i}", 5.0, 2.0) for i in range(n)]
    whole = [draws.integer(f"i{i}", 1, 3) for i in range(n)]
    flags = [draws.flag(f"f{i}", 0.25) for i in range(n)]
    choices = [draws.choice(f"c{i}", ("x", "y", "z"), (1, 0, 3)) for i in range(n)]
    # Five standard errors of each mean.
    assert abs(np.mean(uniform) - 3.0) < 5 * (2 / np.sqrt(12)) / np.sqrt(n)
    assert min(uniform) >= 2.0
    assert max(uniform) < 4.0
    assert abs(np.mean(normal) - 5.0) < 5 * 2 / np.sqrt(n)
    assert abs(np.std(normal) - 2.0) < 0.15
    assert {whole.count(i) > n / 4 for i in (1, 2, 3)} == {True}
    assert set(whole) == {1, 2, 3}
    assert abs(np.mean(flags) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)
    assert choices.count("y") == 0
    assert abs(choices.count("z") / n - 0.75) < 5 * np.sqrt(0.25 * 0.75 / n)


def test_a_name_is_drawn_once_only() -> None:
    draws = Draws(0)
    draws.flag("rain", 0.5)
    with pytest.raises(ConfigError, match="'rain' twice"):
        draws.uniform("rain", 0, 1)


def test_a_record_that_lacks_a_draw_is_refused() -> None:
    with pytest.raises(DataError, match="'sigma'"):
        Draws.replay({"size": 7}).uniform("sigma", 0, 1)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_impossible_seed(seed: object) -> None:
    with pytest.raises(ConfigError, match="whole number >= 0"):
        Draws(seed)  # type: ignore[arg-type]


def test_seed_of_a_file_is_the_hash_of_name_and_seed() -> None:
    digest = hashlib.blake2b(b"7\0a/b.png", digest_size=8).digest()
    assert seed_for("a/b.png", 7) == int.from_bytes(digest, "big") // 2
    names = [f"{i:04}.jpg" for i in range(500)]
    assert len({seed_for(name, seed) for name in names for seed in (0, 1)}) == 1000


@given(st.text(), st.integers())
def test_seed_of_any_name_is_a_seed(name: str, seed: int) -> None:
    assert 0 <= seed_for(name, seed) < 2**63
