"""Batches with degraded twins and prompts to be corrected; error clicks against scipy's distance transform."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from train_tiny import photo_set

from glesam.errors import ConfigError
from glesam.train.config import BaseConfig, Phase, read_config
from glesam.train.feed.pack import pack
from glesam.train.feed.twins import TwinBatches, error_clicks


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    root = tmp_path_factory.mktemp("twins")
    data = photo_set(root / "set")
    config = BaseConfig(
        data={"set": 1.0},
        phases=(Phase(image_size=64, batch_size=6, steps=4, scale=(0.2, 0.3)),),
        prompts=4,
        corrected=2,
        twins=2,
        zoom=0.5,
        levels={"lq3": 1.0},
    )
    return TwinBatches([pack(data, root / "cache")], [1.0], config)


def test_twins_share_their_prompts_and_targets_and_differ_in_quality(batches):
    batch = batches[1]
    assert batch["pixels"].shape == (6, 64, 64, 3)
    clear, degraded = slice(2, 4), slice(4, 6)
    for key in ("points", "labels", "targets", "fine"):
        assert torch.equal(batch[key][clear], batch[key][degraded])
    assert not torch.equal(batch["pixels"][clear], batch["pixels"][degraded])


def test_a_batch_is_a_function_of_seed_and_step(batches):
    again = batches[2]
    assert all(torch.equal(value, again[key]) for key, value in batches[2].items())
    assert not torch.equal(batches[3]["pixels"], again["pixels"])


def test_degraded_views_without_twins_come_before_the_twins(batches):
    def stream(**changes):
        return TwinBatches(batches.packs, [1.0], batches.base.model_copy(update=changes))[1]

    batch, clear = stream(degraded=2), stream(degraded=2, levels={"clear": 1.0})
    assert batch["pixels"].shape == (6, 64, 64, 3)
    assert torch.equal(batch["points"], clear["points"])
    same = [torch.equal(a, b) for a, b in zip(batch["pixels"], clear["pixels"], strict=True)]
    assert same == [False, False, True, True, False, False]


def test_more_degraded_views_than_the_batch_holds_are_refused():
    with pytest.raises(ConfigError, match="2 x twins \\+ degraded is 7, more than the batch's 6"):
        read_config(
            BaseConfig, None, {"twins": 3, "degraded": 1, "phases": [{"image_size": 64, "batch_size": 6, "steps": 1}]}
        )


def test_mixing_changes_degraded_views_alone_and_off_is_as_before(batches):
    def stream(**changes):
        return TwinBatches(batches.packs, [1.0], batches.base.model_copy(update=changes))

    plain, mixed, again = batches[1], stream(mixing=1.0)[1], stream(mixing=1.0)[1]
    assert torch.equal(stream(mixing=0.0)[1]["pixels"], plain["pixels"])
    assert torch.equal(mixed["pixels"], again["pixels"])
    # Views without twins are drawn first.
    assert torch.equal(mixed["pixels"][:2], plain["pixels"][:2])
    assert torch.equal(mixed["points"][2:4], mixed["points"][4:6])
    clear = {"levels": {"clear": 1.0}}
    same, changed = stream(**clear)[1]["pixels"], stream(**clear, mixing=1.0)
    assert torch.equal(same[2:4], same[4:6])
    assert any(not torch.equal(changed[step]["pixels"][2:4], changed[step]["pixels"][4:6]) for step in range(3))


def test_targets_are_the_shares_of_the_finer_ones_and_clicks_lie_on_the_object(batches):
    batch = batches[0]
    fine = batch["fine"].float().view(6, 4, 16, 2, 16, 2).mean(dim=(3, 5))
    assert (fine - batch["targets"].float()).abs().max() <= 1
    for view in range(6):
        for prompt in range(4):
            for (x, y), label in zip(
                batch["points"][view, prompt].tolist(), batch["labels"][view, prompt], strict=True
            ):
                if label == 1:
                    assert batch["fine"][view, prompt, int(y) // 2, int(x) // 2] > 0


def test_prompts_to_be_corrected_start_with_one_click_or_one_box(batches):
    labels = torch.cat([batches[step]["labels"][:, 2:].flatten(0, 1) for step in range(4)]).tolist()
    starts = {tuple(kinds[:2]) for kinds in labels}
    assert starts == {(1, -1), (2, 3)}
    assert all(set(kinds[2:]) == {-1} for kinds in labels)


def depth(region):
    return scipy.ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_a_click_lies_deep_in_the_larger_error(seed):
    rng = np.random.default_rng(seed)
    found, wanted = (scipy.ndimage.gaussian_filter(rng.normal(size=(24, 24)), 2) > 0 for _ in range(2))
    logits = torch.from_numpy(np.where(found, 1.0, -1.0))[None]
    cells, labels = error_clicks(logits, torch.from_numpy(wanted)[None], np.random.default_rng(0))
    missed, excess = depth(wanted & ~found), depth(found & ~wanted)
    (x, y), label = cells[0].astype(int), labels[0]
    error = missed if label else excess
    # OpenCV's distances are within a twentieth of the exact ones.
    assert error.max() >= 0.95 * max(missed.max(), excess.max())
    assert error[y, x] >= 0.45 * error.max() > 0


def test_without_an_error_the_click_confirms():
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    truth[0, 2:6, 2:6] = True
    cells, labels = error_clicks(torch.where(truth, 1.0, -1.0), truth, np.random.default_rng(0))
    assert labels.tolist() == [1, 0]
    assert truth[0, int(cells[0, 1]), int(cells[0, 0])]
