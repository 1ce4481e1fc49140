"""Windows enlarged alone are what `ImageGeometry.restore` makes of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glesam.models.base import ImageGeometry
from glesam.views import enlarge
from glesam.views.enlarge import MARGIN, Enlarger, boxes_inside, mask_boxes


def blob(seed: int, low: int = 16) -> torch.Tensor:
    ys, xs = torch.meshgrid(torch.arange(low) + 0.0, torch.arange(low) + 0.0, indexing="ij")
    rng = np.random.default_rng(seed)
    cx, cy, r = *rng.uniform(0, low, 2).tolist(), rng.uniform(1, 6)
    noise = torch.randn(low, low, generator=torch.Generator().manual_seed(seed))
    return r - ((xs - cx) ** 2 + (ys - cy) ** 2).sqrt() + 0.3 * noise


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (30, 41), (10, 300), (7, 5)])
@pytest.mark.parametrize("band", [2**24, 300])
def test_windows_are_restored_exactly(size: tuple[int, int], band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enlarge, "BAND_PIXELS", band)
    scale = 64 / max(size)
    inside = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    geometry = ImageGeometry(size, inside, 64)
    offset = (3, 5)
    enlarger = Enlarger(geometry, (16, 16), (size[0] + 9, size[1] + 4), offset)
    for seed in range(6):
        logits = blob(seed)[: -(-inside[0] // 4), : -(-inside[1] // 4)]
        whole = torch.full((16, 16), -5.0)
        whole[: logits.shape[0], : logits.shape[1]] = logits
        x0, y0, x1, y1 = mask_boxes(logits[None])[0].tolist()
        if x1 == 0:
            continue
        left, above = max(0, x0 - MARGIN), max(0, y0 - MARGIN)
        window = logits[above : y1 + MARGIN, left : x1 + MARGIN].numpy()
        got = enlarger.enlarge(window, (left, above), (x0, y0, x1, y1)).to_array()
        exact = geometry.restore(whole[None, None])[0, 0].numpy()
        place = got[offset[1] : offset[1] + size[0], offset[0] : offset[0] + size[1]]
        clear = np.abs(exact) > 1e-4
        # The last cells may be half padding: there the logits beyond the image have a part in `restore`.
        clear[:, size[1] - 1 - size[1] // 16 :] = clear[size[0] - 1 - size[0] // 16 :] = False
        assert np.array_equal(place[clear], exact[clear] > 0)
        assert got.sum() == place.sum()


@pytest.mark.parametrize("inside", [(480, 640), (640, 480), (640, 640), (479, 640)])
def test_boxes_end_where_the_image_does(inside: tuple[int, int]) -> None:
    """Logits that are squares by repetition of their last row or column, against the rows and columns before that."""
    rng, (height, width) = np.random.default_rng(3), inside
    rows, columns = -(-height // 4), -(-width // 4)
    logits = np.full((4, 160, 160), -1.0, np.float32)
    for each in logits[:3]:
        y, x = rng.integers(0, rows - 5), rng.integers(0, columns - 5)
        each[y : y + 5, x : x + 5] = 1
    logits[0, rows - 3 : rows, columns - 3 : columns] = 1
    logits[:, rows:], logits[:, :, columns:] = logits[:, rows - 1 : rows], logits[:, :, columns - 1 : columns]
    found = boxes_inside(torch.from_numpy(logits), ImageGeometry((30, 40), inside, 640)).tolist()
    for box, each in zip(found, logits[:3], strict=False):
        ys, xs = np.nonzero(np.kron(each, np.ones((4, 4)))[:height, :width] > 0)
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert found[3] == [0, 0, 0, 0]


@pytest.mark.parametrize("step", [2, 3, 4])
def test_large_windows_are_refined_where_they_are(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disc of a smooth map on a flat guide has its centre of mass in the same place whatever is refined of it."""
    size = (400, 400)
    geometry = ImageGeometry(size, size, 400)
    ys, xs = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    logits = (0.5 * (30 - ((xs - 47.3) ** 2 + (ys - 52.1) ** 2).sqrt())).numpy()
    box = mask_boxes(torch.from_numpy(logits)[None])[0].tolist()
    centres = []
    for limit in (2**20, 400 * 400 // step**2):
        monkeypatch.setattr(enlarge, "REFINED_PIXELS", limit)
        enlarger = Enlarger(geometry, (100, 100), size, (0, 0), np.full(size, 127, np.uint8))
        found = enlarger.enlarge(logits, (0, 0), box).to_array()
        centres.append(np.argwhere(found).mean(axis=0))
    np.testing.assert_allclose(centres[1], centres[0], atol=0.1)
