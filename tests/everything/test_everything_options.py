"""Settings are checked, with one line that helps."""

from __future__ import annotations

from typing import Any

import pytest

from glesam.errors import ConfigError
from glesam.everything.options import Options, Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"points_per_sides": 8}, "did you mean 'points_per_side'?"),
        ({"colour": 8}, "known are points_per_side"),
        ({"points_per_side": 0}, "at least 1"),
        ({"points_per_side": 2.5}, "whole number"),
        ({"points_per_batch": 0}, "the default is"),
        ({"pred_iou_thresh": 1.2}, "a share from 0 to 1"),
        ({"stability_score_offset": 0}, "above 0"),
        ({"crop_n_layers": -1}, "at least 0"),
        ({"crop_overlap_ratio": 1.0}, "below 1"),
        ({"min_mask_region_area": -3}, "at least 0"),
        ({"tile": 10}, "at least 64 pixels"),
        ({"tile": 500.0}, "at least 64 pixels"),
        ({"tile_overlap": 0.0}, "at most 0.5"),
        ({"tile": 512, "crop_n_layers": 1}, "tiles are crops already"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        Options.parse(settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_typed_settings_are_the_options() -> None:
    assert set(Settings.__annotations__) == set(Options.__dataclass_fields__)
