import numpy as np
import pytest

from glesam.errors import ConfigError
from glesam.images.pixels import RGB
from glesam.restore import registry
from glesam.restore.base import Restorer
from glesam.restore.registry import RestorerKind, load_restorer, register, restorers


class Toy(Restorer):
    def __init__(self, argument: str) -> None:
        super().__init__("toy", {"value": int(argument)})

    def apply(self, image: RGB, name: str | None) -> RGB:
        return np.full_like(image, self.settings["value"])


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    register(RestorerKind("toy", "one value", Toy, "VALUE"))


@pytest.mark.usefixtures("toy")
def test_a_restorer_from_outside_is_one_row() -> None:
    restorer = load_restorer("toy:7")
    assert restorer is not None
    assert (restorer.restore(np.zeros((2, 3, 3), np.uint8)) == 7).all()
    assert "toy" in [kind.name for kind in restorers()]
    with pytest.raises(ConfigError, match="taken"):
        register(RestorerKind("toy", "again", Toy))


@pytest.mark.parametrize("text", [None, "", "none"])
def test_none_is_no_restorer(text: str | None) -> None:
    assert load_restorer(text) is None


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'median'"):
        load_restorer("medain")


@pytest.mark.parametrize("text", ["unet:", "swin2sr", "identity:3"])
def test_missing_and_superfluous_arguments_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="expected the restorer"):
        load_restorer(text)


def test_every_row_says_what_it_is_and_opens_something() -> None:
    for kind in restorers():
        assert kind.about
        assert kind.form.startswith(kind.name)
        if isinstance(kind.open, str):
            module, _, name = kind.open.partition(":")
            assert callable(getattr(__import__(module, fromlist=[name]), name))
