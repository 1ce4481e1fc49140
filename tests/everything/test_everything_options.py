"""Settings are checked, with one line that helps."""

from __future__ import annotations

from typing import Any

import pytest

from glesam.common.settings import descriptions
from glesam.errors import ConfigError
from glesam.everything.options import Options


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"points_per_sides": 8}, "did you mean 'points_per_side'?"),
        ({"colour": 8}, "known are points_per_side"),
        ({"points_per_side": 0}, "greater than or equal to 1"),
        ({"points_per_side": 2.5}, "valid integer"),
        ({"points_per_batch": 0}, "the default is"),
        ({"pred_iou_thresh": 1.2}, "less than or equal to 1"),
        ({"stability_score_offset": 0}, "greater than 0"),
        ({"crop_n_layers": -1}, "greater than or equal to 0"),
        ({"crop_overlap_ratio": 1.0}, "less than 1"),
        ({"min_mask_region_area": -3}, "greater than or equal to 0"),
        ({"tile": 10}, "at least 64 pixels"),
        ({"tile": 500.5}, "valid integer"),
        ({"tile_overlap": 0.0}, "greater than 0"),
        ({"tile": 512, "crop_n_layers": 1}, "tiles are crops already"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        Options.parse(settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_setting_is_described_and_has_a_default() -> None:
    assert set(descriptions(Options)) == set(Options.model_fields)
    assert not any(field.is_required() for field in Options.model_fields.values())
