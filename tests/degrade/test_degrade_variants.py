"""Degradations by name."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.degrade import real, robustseg
from glesam.degrade.lqseg import pipeline as lqseg
from glesam.degrade.variants import parse_variants
from glesam.errors import ConfigError


def names(*texts: str | None) -> list[str]:
    recipe, *rest = texts
    assert recipe is not None
    return [variant.name for variant in parse_variants(recipe, *(rest + [None] * (4 - len(rest))))]


def test_levels() -> None:
    assert names("lqseg") == names("lqseg", None, "all") == ["lq1", "lq2", "lq3"]
    assert names("lqseg", None, "lq3, 1,LQ-3") == ["lq3", "lq1"]


def test_kinds_and_severities() -> None:
    assert names("robustseg") == [f"{kind}-3" for kind in robustseg.KINDS]
    assert names("real", None, None, "all", "1") == [f"{kind}-1" for kind in real.KINDS]
    assert names("robustseg", None, None, "fog,rain", "5,1") == ["fog-5", "fog-1", "rain-5", "rain-1"]
    assert names("real", None, None, "haze", "all") == [f"haze-{i}" for i in range(1, 6)]


def test_pixels_are_those_of_the_rooms() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    train, test = (parse_variants("lqseg", which, "2", None, None)[0] for which in ("train", None))
    assert (train.apply(image, 3)[0] == lqseg.degrade(image, 2, 3, "train")).all()
    assert (test.apply(image, 3)[0] == lqseg.degrade(image, 2, 3, "test")).all()
    fog = parse_variants("robustseg", None, None, "fog", "4")[0]
    pixels, record = fog.apply(image, 3)
    assert (pixels == robustseg.degrade(image, "fog", 4, 3)).all()
    assert (record["kind"], record["severity"]) == ("fog", 4)
    haze = parse_variants("real", None, None, "haze", "2")[0]
    assert (haze.apply(image, 3)[0] == real.degrade(image, "haze", 2, 3)).all()


def test_kinds_that_move_pixels_are_known() -> None:
    moving = {v.kind for r in ("lqseg", "robustseg", "real") for v in parse_variants(r, *[None] * 4) if v.moves_pixels}
    assert moving == {"elastic", "frosted_glass", "rolling_motion"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("lqsge",), "did you mean 'lqseg'"),
        (("robust",), "did you mean 'robustseg'"),
        (("zzz",), "choose one of those"),
        (("lqseg", None, "lq7"), "did you mean 'lq3'"),
        (("lqseg", "tets"), "did you mean 'test'"),
        (("lqseg", None, None, "fog"), "no --kind with --recipe lqseg"),
        (("lqseg", None, None, None, "3"), "no --severity"),
        (("real", None, "1"), "no --level"),
        (("real", "train"), "no --lqseg-recipe"),
        (("robustseg", None, None, "fogg"), "did you mean 'fog'"),
        (("robustseg", None, None, "fog", "6"), "1 .mild. to 5"),
        (("robustseg", None, None, "fog", ""), "1 .mild. to 5"),
        (("lqseg", None, ""), "expected a level"),
        (("robustseg", None, None, ""), "expected a kind"),
    ],
)
def test_wrong_names_and_options(texts: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        names(*texts)
