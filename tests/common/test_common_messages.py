"""The one did-you-mean."""

from __future__ import annotations

import warnings

import pytest

from glesam.common.messages import CHOOSE, hint, one_of, speak_warnings
from glesam.errors import ConfigError
from glesam.images.ranges import ImageWarning


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("ecsd", "did you mean 'ecssd'?"),
        ("ECSSD", "did you mean 'ecssd'?"),
        ("low-light", "did you mean 'low_light'?"),
        ("Cocos", "did you mean 'COCO'?"),
        ("zzz", "known are ecssd, COCO, low_light"),
    ],
)
def test_the_nearest_name_whatever_case_and_dashes(word: str, cure: str) -> None:
    assert hint(word, ["ecssd", "COCO", "low_light"]) == cure


def test_several_near_ones_and_another_cure() -> None:
    assert hint("lq", ["lq1", "lq2"], count=2) in ("did you mean 'lq1' or 'lq2'?", "did you mean 'lq2' or 'lq1'?")
    assert hint(None, ["a"], CHOOSE) == "choose one of those"


def test_one_of_gives_the_word_back_or_lists_what_is_known() -> None:
    assert one_of("a quality", "fast", ("fast", "high")) == "fast"
    with pytest.raises(ConfigError, match=r"^expected a quality of fast, high, got 'slow'; name one of these$"):
        one_of("a quality", "slow", ("fast", "high"))


def test_our_warnings_are_one_line_and_others_are_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = warnings.formatwarning
    monkeypatch.setattr(warnings, "formatwarning", plain)
    speak_warnings()
    ours = warnings.formatwarning("a.jpg: two\nlines \x1b[31m", ImageWarning, "x.py", 3)
    assert ours.startswith("glesam: warning: a.jpg: two lines ")
    assert ours.endswith("\n")
    assert ours.count("\n") == 1
    assert "\x1b" not in ours
    assert warnings.formatwarning("another", UserWarning, "x.py", 3) == plain("another", UserWarning, "x.py", 3)
