"""What words cost: the encoder is timed on images that it has not seen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import words_cost


def test_every_encoding_that_is_timed_is_of_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def do_nothing(*arguments: Any, **options: Any) -> None:
        return None

    def timed(function: Callable[[], object], repeats: int, clock: object, warm_up: int) -> float:
        for _ in range(4):
            function()
        return 0.0

    fake = SimpleNamespace(
        set_image=lambda image: seen.append(np.ascontiguousarray(image).tobytes()),
        predict=do_nothing,
        predict_text=do_nothing,
    )
    monkeypatch.setattr("glesam.Predictor", SimpleNamespace(from_pretrained=lambda name, enhance: fake))
    monkeypatch.setattr("glesam.text.offline.bundled", lambda: SimpleNamespace(look=do_nothing, word_map=do_nothing))
    monkeypatch.setattr(words_cost, "timed", timed)
    monkeypatch.setattr(words_cost, "resident", lambda: 0.0)
    monkeypatch.setattr("torch.set_num_threads", do_nothing)
    monkeypatch.setattr(sys, "argv", ["words_cost.py"])
    words_cost.main()
    assert len(seen) == 5
    assert len(set(seen)) == 5
