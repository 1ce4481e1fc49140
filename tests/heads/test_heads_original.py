"""The authors' files: every key accounted for both ways, whatever is missing or left over is named."""

from __future__ import annotations

import pytest
import torch
from heads_original import original_hq, original_hq2, original_robust

from glesam.errors import ModelError
from glesam.heads.original import head_for, load_original, split_head
from glesam.models.registry import load_model
from glesam.weights.folders import state_digest

FILES = {"hq": original_hq, "hq2": original_hq2, "robust": original_robust}


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_the_bases_or_the_heads_and_no_more(name):
    state = FILES[name]().state_dict()
    split = split_head(state, "file")
    own = [k for k in state if k not in split.base]
    words = ("hf_", "compress_vit", "embedding_", "custom_", "robust_mlp", "fourier_")
    assert own == [k for k in state if k.split("mask_decoder.")[-1].startswith(words)]
    assert len(split.head.state_dict()) == len(own) > 10
    values = sorted(float(v.double().sum()) for v in split.head.state_dict().values())
    assert values == sorted(float(state[k].double().sum()) for k in own)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_key_is_named(name):
    state = FILES[name]().state_dict()
    key = next(k for k in state if k.endswith(("hf_mlp.layers.1.bias", "robust_mlp.layers.1.bias")))
    del state[key]
    with pytest.raises(ModelError, match=r"1 missing \(mlp.layers.0.bias\)"):
        split_head(state, "file")


@pytest.mark.parametrize("name", ["hq", "robust"])
def test_a_key_too_many_is_named(name, tmp_path):
    state = FILES[name]().state_dict() | {"mask_decoder.hf_more.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(ModelError, match=r"mask_decoder\.hf_more\.weight"):
        load_original(tmp_path / "file.pth")


def test_a_file_without_a_head_is_a_plain_model(tmp_path):
    state = split_head(original_hq().state_dict(), "file").base
    torch.save(state, tmp_path / "plain.pth")
    assert load_model(tmp_path / "plain.pth").family == "sam"


def test_head_for_another_base_is_refused(tmp_path):
    torch.save(original_hq(0).state_dict(), tmp_path / "one.pth")
    torch.save(original_hq(1).state_dict(), tmp_path / "two.pth")
    base = load_model(tmp_path / "one.pth").base
    head = head_for(tmp_path / "one.pth", base)
    assert state_digest(head) == state_digest(load_model(tmp_path / "one.pth").head)
    with pytest.raises(ModelError, match="other weights"):
        head_for(tmp_path / "two.pth", base)
