"""Skip adapters against their formulas; at the start they change nothing; bad input."""

import pytest
import torch

from glesam.enhance.skips import SkipAdapter
from glesam.errors import ModelError
from glesam.models.base import Embedding


def embedding(batch=2):
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, 8, 4, 4), (batch, 3, 16, 16), (batch, 5, 8, 8))
    latent, *skips = (torch.randn(shape, generator=generator) for shape in shapes)
    return Embedding(latent, tuple(skips))


@pytest.mark.parametrize("kind", ["attenuate", "branch"])
def test_a_new_one_changes_nothing_and_the_latent_stays(kind):
    given = embedding()
    got = SkipAdapter(kind, 8, (3, 5))(given, torch.tensor([0.0, 3.0]))
    assert got.latent is given.latent
    for ours, theirs in zip(got.skips, given.skips, strict=True):
        assert torch.equal(ours, theirs)


def test_attenuation_is_an_exponential_of_the_level():
    adapter, given = SkipAdapter("attenuate", 8, (3, 5)), embedding()
    for index, slope in enumerate(adapter.slopes):
        slope.data.copy_(torch.arange(len(slope)) + index)
    got = adapter(given, torch.tensor([0.0, 1.5]))
    for index, (ours, theirs) in enumerate(zip(got.skips, given.skips, strict=True)):
        assert torch.equal(ours[0], theirs[0])
        for channel in range(theirs.shape[1]):
            factor = 2.718281828 ** (-(channel + index) * 0.5)
            torch.testing.assert_close(ours[1, channel], theirs[1, channel] * factor)
    with pytest.raises(ModelError, match="add a gate"):
        adapter(given, None)


def test_every_weight_of_the_branch_acts_on_the_skip():
    adapter, given = SkipAdapter("branch", 8, (3, 5)), embedding()
    for branch in adapter.branches:
        torch.nn.init.normal_(branch.narrow.weight)
    sum(skip.square().sum() for skip in adapter(given, None).skips).backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in adapter.parameters())
    other = Embedding(given.latent + 1, given.skips)
    assert not torch.equal(adapter(other, None).skips[0], adapter(given, None).skips[0])


@pytest.mark.parametrize("kind", ["attenuate", "branch"])
def test_folder_gives_the_same_back(kind, tmp_path):
    adapter = SkipAdapter(kind, 8, (3, 5), width=3)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    adapter.save_pretrained(tmp_path)
    again, levels = SkipAdapter.from_pretrained(tmp_path), torch.tensor([1.0, 2.0])
    for a, b in zip(adapter(embedding(), levels).skips, again(embedding(), levels).skips, strict=True):
        assert torch.equal(a, b)


def test_bad_input(tmp_path):
    with pytest.raises(ModelError, match="attenuate, branch"):
        SkipAdapter("raw")
    with pytest.raises(ModelError, match="SAM has none"):
        SkipAdapter("branch", 8, ())
    with pytest.raises(ModelError, match=r"expected skips of \(3, 4\)"):
        SkipAdapter("branch", 8, (3, 4))(embedding(), None)
    (tmp_path / "config.json").write_text('{"family": "skip-adapter", "kind": "branch"}')
    with pytest.raises(ModelError, match="options"):
        SkipAdapter.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"family": "gate"}')
    with pytest.raises(ModelError, match="family"):
        SkipAdapter.from_pretrained(tmp_path)
