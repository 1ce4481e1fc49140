import numpy as np
import pytest

from glesam.errors import ImageError, ModelError
from glesam.images.pixels import RGB
from glesam.restore.base import Identity, Restorer


class Halved(Restorer):
    def __init__(self) -> None:
        super().__init__("halved", {"factor": 0.5})

    def apply(self, image: RGB, name: str | None) -> RGB:
        return image[::2, ::2]


def image(height: int = 5, width: int = 7) -> RGB:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_identity_gives_the_very_array() -> None:
    given = image()
    assert Identity().restore(given) is given


def test_a_restorer_that_changes_the_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"halved.*\(5, 7, 3\).*\(3, 4, 3\).*keep the size"):
        Halved().restore(image())


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(bad: RGB) -> None:
    with pytest.raises(ImageError, match="uint8 RGB"):
        Identity().restore(bad)


def test_the_key_follows_name_and_settings() -> None:
    class Plain(Restorer):
        def apply(self, image: RGB, name: str | None) -> RGB:
            return image

    keys = [Plain("a", {"x": 1, "y": 2}), Plain("a", {"y": 2, "x": 1}), Plain("a", {"x": 1}), Plain("b", {"x": 1})]
    first, same, fewer, other = (restorer.key for restorer in keys)
    assert first == same
    assert len({first, fewer, other}) == 3
