"""Masks that lie off their images are noticed, by how much, and images are moved under them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from glesam.cli import app
from glesam.data.base import Sample
from glesam.data.offset import mask_offset, moved
from glesam.data.readers.folder import FolderDataset


class Discs:
    """Blurred discs on noise; masks lie off them by `(x, y)`, and may be shrunk by the pixel under a corner."""

    name = "discs"

    def __init__(self, x: float, y: float, count: int = 20) -> None:
        self.offset, self.names = (x, y), [str(i) for i in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        (cx, cy), radius = rng.uniform(40, 60, 2), rng.uniform(15, 25)
        ys, xs = np.mgrid[:100, :110]
        soft = 1 / (1 + np.exp(2 * (np.hypot(xs - cx, ys - cy) - radius)))
        image = (60 + 130 * soft + rng.normal(0, 2, soft.shape)).clip(0, 255).astype(np.uint8)
        x, y = self.offset
        mask = (np.hypot(xs - cx - x, ys - cy - y) < radius).astype(np.int32)
        return Sample(self.names[index], np.repeat(image[..., None], 3, axis=2), mask)


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.8, 0.4), (-0.5, 1.2)])
def test_an_offset_is_measured_within_its_error(place: tuple[float, float]) -> None:
    found = mask_offset(Discs(*place))  # type: ignore[arg-type]
    assert found is not None
    assert found.images == 20
    assert abs(found.x - place[0]) < max(0.1, 3 * found.error_x)
    assert abs(found.y - place[1]) < max(0.1, 3 * found.error_y)
    assert max(found.error_x, found.error_y) < 0.1


def test_images_that_are_moved_under_their_masks_lie_on_them() -> None:
    class Moved(Discs):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return Sample(sample.name, moved(sample.image, *self.offset), sample.mask)

    found = mask_offset(Moved(0.8, 0.4))  # type: ignore[arg-type]
    assert found is not None
    assert max(abs(found.x), abs(found.y)) < 0.1


def test_too_few_images_or_none_with_edges_measure_nothing() -> None:
    assert mask_offset(Discs(0, 0, 4)) is None  # type: ignore[arg-type]


def test_the_command_tells_the_offset_or_that_there_is_none_to_tell(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    discs = Discs(0.0, 1.0, 8)
    for index in range(8):
        sample = discs[index]
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{index}.png"), sample.image)
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"{index}.png"), sample.mask.astype(np.uint8))
    expected = mask_offset(FolderDataset(tmp_path / "set"))
    assert expected is not None
    result = CliRunner().invoke(app, ["data", "offset", str(tmp_path / "set")])
    assert result.exit_code == 0, result.output
    assert f"x {expected.x:+.2f}" in result.output
    assert f"y {expected.y:+.2f}" in result.output
    for path in sorted((tmp_path / "set" / "images").iterdir())[:5]:
        path.unlink()
        (tmp_path / "set" / "masks" / path.name).unlink()
    result = CliRunner().invoke(app, ["data", "offset", str(tmp_path / "set")])
    assert result.exit_code == 1
    assert "too few to measure" in result.output
