"""The official decoder file: names as the authors write them, every key accounted for, the base model unchanged."""

import pytest
import torch
from models_original import OriginalSam, OriginalSam2
from models_tiny import hiera_tiny, randomise, sam2_tiny_config, sam_tiny_config
from transformers import SamConfig

from glesam.enhance.bundle import Parts, write_bundle
from glesam.enhance.official import read_official_decoder
from glesam.errors import ModelError
from glesam.models.base import PromptTensors
from glesam.models.sam import original_names as tables
from glesam.models.sam.original import convert, load_checkpoint
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.models.tuned import mask_decoder, with_tuned
from glesam.weights.folders import state_digest

# Depth and global blocks of the released sizes; widths are small.
SIZES = {"b": (12, [2, 5, 8, 11]), "l": (24, [5, 11, 17, 23]), "h": (32, [7, 15, 23, 31])}


def official(size, seed=0):
    """State dict of a whole SAM of the official names."""
    config = sam_tiny_config().to_dict()
    layers, blocks = SIZES[size]
    config["vision_config"] |= {"num_hidden_layers": layers, "global_attn_indexes": blocks}
    return randomise(OriginalSam(SamConfig.from_dict(config)), seed).state_dict()


def tuned(state, seed=7):
    """The same with another decoder, as stage 2 leaves it: all but the IoU token and head."""
    generator = torch.Generator().manual_seed(seed)
    frozen = {k: v.clone() for k, v in state.items() if not k.startswith("mask_decoder.") or "iou" in k}
    rest = {k: torch.randn(v.shape, generator=generator) * 0.3 for k, v in state.items() if k not in frozen}
    return {k: (frozen | rest)[k] for k in state}


@pytest.fixture
def saved(tmp_path):
    """A function that writes state dicts and gives the base model and the official file."""

    def save(state, changed, prefix=""):
        torch.save(state, tmp_path / "sam.pth")
        torch.save({prefix + k: v for k, v in changed.items()}, tmp_path / "epoch_last.pth")
        return load_checkpoint(tmp_path / "sam.pth"), tmp_path / "epoch_last.pth"

    return save


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("size", list(SIZES))
def test_the_file_gives_the_model_that_it_was_saved_from(saved, tmp_path, size, prefix):
    state = official(size)
    changed = tuned(state)
    base, path = saved(state, changed, prefix)
    before = state_digest(base)
    bundle = write_bundle(tmp_path / "bundle", base, Parts(decoder=path))
    ours = with_tuned(base, "decoder", bundle / "decoder")
    torch.save(changed, tmp_path / "whole.pth")
    theirs = load_checkpoint(tmp_path / "whole.pth")
    assert state_digest(ours) == state_digest(theirs)
    assert state_digest(base) == before != state_digest(ours)
    embedding = base.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    prompts = PromptTensors(torch.tensor([[[[20.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.long))
    torch.testing.assert_close(
        ours.decode(embedding, prompts).low_res_logits, theirs.decode(embedding, prompts).low_res_logits
    )


def test_a_file_with_the_decoder_alone(saved):
    state = official("b")
    changed = tuned(state)
    alone = {k: v for k, v in changed.items() if k.startswith("mask_decoder.")}
    base, path = saved(state, alone)
    assert read_official_decoder(path, base).keys() == mask_decoder(base).state_dict().keys()


def test_sam2s_decoder_under_the_authors_names(tmp_path, monkeypatch):
    monkeypatch.setitem(tables.SAM2_SIZES, (8, 5), hiera_tiny())
    state = randomise(OriginalSam2(sam2_tiny_config())).state_dict()
    changed = {k: v + 0.1 if k.startswith("sam_mask_decoder.") else v for k, v in state.items()}
    torch.save(changed, tmp_path / "decoder.pt")
    base = Sam2Promptable.from_state(sam2_tiny_config(), convert(state, "file").state, "file")
    found = read_official_decoder(tmp_path / "decoder.pt", base)
    own = mask_decoder(base).state_dict()
    for name, value in found.items():
        torch.testing.assert_close(value, own[name] + 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("mask_decoder.iou_token.weight"), "1 missing"),
        (lambda s: s.update({"mask_decoder.extra.weight": torch.zeros(1)}), r"mask_decoder\.extra"),
        (lambda s: s.update({"image_encoder.pos_embed": s["image_encoder.pos_embed"] + 1}), "frozen weights"),
        (lambda s: s.update({"mask_decoder.mask_tokens.weight": torch.zeros(5, 32)}), "of another shape"),
    ],
)
def test_what_does_not_fit_is_named(saved, change, message):
    state = official("b")
    changed = tuned(state)
    change(changed)
    base, path = saved(state, changed)
    with pytest.raises(ModelError, match=message):
        read_official_decoder(path, base)


def test_the_decoder_of_another_size_is_refused(saved):
    base, path = saved(official("b"), tuned(official("l")))
    with pytest.raises(ModelError, match="frozen weights"):
        read_official_decoder(path, base)


def test_compact_has_no_official_decoder(tmp_path):
    from glesam.models.compact.model import CompactConfig, CompactModel

    with pytest.raises(ModelError, match="SAM or SAM 2"):
        read_official_decoder(tmp_path / "x.pth", CompactModel(CompactConfig("lite0", 64)))
