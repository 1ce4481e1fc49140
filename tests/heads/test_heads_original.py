"""The authors' files: every key accounted for both ways, whatever is missing or left over is named."""

from __future__ import annotations

import pytest
import torch
from heads_original import HQDecoder, RobustDecoder, original_hq, original_hq2, original_robust
from models_original import OriginalSam, OriginalSam2
from test_models_mobile import OriginalMobileSam
from test_models_original import VIT, hiera_config
from transformers import SamConfig

from glesam.errors import ModelError
from glesam.heads.files import ORIGINAL_FILES
from glesam.heads.original import head_for, load_original, split_head
from glesam.models.registry import load_model
from glesam.models.sam.original import convert
from glesam.models.sam.tinyvit import TinyVitConfig
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


def full_size(name):
    """Shapes and names of an authors' file: zeros that take no memory."""
    with torch.device("meta"):
        if name == "sam2.1_hq_hiera_large":
            model = OriginalSam2(hiera_config("large"))
            model.sam_mask_decoder = HQDecoder(256, 2048, 256, True, 1e-5, None)
        elif name == "sam_hq_vit_tiny":
            model = OriginalMobileSam(TinyVitConfig(), 256, 1024, 2048, 256)
            model.mask_decoder = HQDecoder(256, 2048, 256, False, 1e-5, 160)
        else:
            config = SamConfig(vision_config=VIT[name[-1]])
            model = OriginalSam(config)
            decoder = RobustDecoder if name.startswith("robust") else HQDecoder
            model.mask_decoder = decoder(256, 2048, 256, False, 1e-5, config.vision_config.hidden_size)
    return {key: torch.zeros(()).expand(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sam_hq_vit_b", 1.07e6),
        ("sam_hq_vit_l", 1.33e6),
        ("sam_hq_vit_h", 1.60e6),
        ("sam_hq_vit_tiny", 0.45e6),
        ("sam2.1_hq_hiera_large", 0.177e6),
        ("robustsam_checkpoint_b", 59.4e6),
        ("robustsam_checkpoint_l", 100.3e6),
        ("robustsam_checkpoint_h", 152.8e6),
    ],
)
def test_every_key_of_a_full_size_file_fits(name, values):
    state = full_size(name)
    split = split_head(state, name)
    found = convert(split.base, name)
    with torch.device("meta"):
        expected = found.model_class.build(found.config).state_dict()
    expected.pop("prompt_encoder.shared_embedding.positional_embedding")
    assert {k: v.shape for k, v in found.state.items()} == {k: v.shape for k, v in expected.items()}
    assert sum(p.numel() for p in split.head.parameters()) == pytest.approx(values, rel=0.01)
    listed = {row.name.rsplit(".", 1)[0]: row.parameters for row in ORIGINAL_FILES}
    assert listed[name] == sum(value.numel() for value in split.head.state_dict().values())


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
