"""Settings models: errors in one line, descriptions from docstrings."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from glesam.common.settings import descriptions, validated
from glesam.errors import ConfigError


class Ground(BaseModel):
    """What all have.

    Attributes:
        height: of the thing, in pixels,
            over two lines.
        width: to be replaced below.
    """

    model_config = ConfigDict(extra="forbid")
    height: int = Field(default=3, ge=1)
    width: int = 4


class Above(Ground):
    """One more.

    Args and other sections do not matter.

    Attributes:
        width: its own text.
        kind: such as `hq`: a name.

    Raises:
        nothing: this is no field.
    """

    kind: str = "hq"


def test_values_are_taken_and_converted() -> None:
    assert validated(Above, {"height": "7"}, "thing") == Above(height=7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hieght": 3}, "expected a known thing, got 'hieght'; did you mean 'height'?"),
        ({"height": 0}, "expected a valid value for thing 'height', got 0: .*greater than or equal to 1"),
    ],
)
def test_errors_are_one_line_with_the_cure(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        validated(Above, values, "thing")
    assert "\n" not in str(error.value)


def test_descriptions_are_those_of_the_docstrings_the_nearest_first() -> None:
    assert descriptions(Above) == {
        "height": "of the thing, in pixels, over two lines.",
        "width": "its own text.",
        "kind": "such as `hq`: a name.",
    }
