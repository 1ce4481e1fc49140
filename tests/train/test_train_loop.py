"""The learning-rate schedule against its formula."""

import math

import pytest

from glesam.train.loop import learning_rate


def test_warm_up_is_linear_and_the_cosine_ends_at_a_hundredth():
    assert [learning_rate(s, 100, 10) for s in range(10)] == pytest.approx([0.1 * (s + 1) for s in range(10)])
    assert learning_rate(10, 100, 10) == pytest.approx(1.0)
    assert learning_rate(55, 100, 10) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)
    assert learning_rate(100, 100, 10) == pytest.approx(0.01)
    rates = [learning_rate(s, 100, 10) for s in range(10, 101)]
    assert rates == sorted(rates, reverse=True)
