"""Gates with one kind of degradation left out."""

import numpy as np
import pytest
import torch

from glesam.degrade.levels import CLEAR, Level
from glesam.enhance.gate import pool
from leave_one_out import measured, table, trained, two_cells, wilson


def latents(kinds, count, seed):
    """Unit noise, to which a kind adds 1, six deviations of a map's mean, in a channel."""
    rng = np.random.default_rng(seed)
    maps = {}
    for level, channel in kinds.items():
        values = rng.normal(size=(count, 8, 6, 6)).astype(np.float32)
        if channel is not None:
            values[:, channel] += 1
        maps[level] = torch.cat([two_cells(torch.from_numpy(v)[None]) for v in values])
    return maps


def test_two_cells_have_the_mean_and_the_deviation_of_the_whole_map():
    latent = torch.from_numpy(np.random.default_rng(0).normal(2, 3, (1, 5, 7, 9)).astype(np.float32))
    torch.testing.assert_close(pool(two_cells(latent)), pool(latent))


def test_a_kind_like_another_is_seen_without_training_and_one_like_none_is_not():
    kinds = {
        CLEAR: None,
        Level("real", "haze", 4): 0,
        Level("robustseg", "fog", 4): 0,
        Level("robustseg", "rain", 4): 1,
    }
    rows = {row.kind: row for row in measured(latents(kinds, 300, 1), latents(kinds, 60, 2), 0)}
    assert rows["clear"].seen <= 9
    assert rows["robustseg:rain"].seen >= 56
    assert rows["robustseg:rain"].unseen <= 40
    assert rows["robustseg:fog"].unseen >= 56  # as haze
    text = table(list(rows.values()))
    assert "| robustseg:rain | 60 |" in text


def test_the_threshold_lets_two_in_a_hundred_clear_training_images_through():
    known = latents({CLEAR: None, Level("real", "haze", 4): 0}, 100, 3)
    gate = trained(known, None, 0)
    assert int((gate.levels(known[CLEAR]) >= gate.threshold).sum()) <= 2


@pytest.mark.parametrize(("hits", "count"), [(0, 30), (7, 30), (30, 30)])
def test_intervals_are_those_of_the_formula(hits, count):
    z, share = 1.959964, hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    assert wilson(hits, count) == pytest.approx((middle - half, middle + half), abs=1e-6)
