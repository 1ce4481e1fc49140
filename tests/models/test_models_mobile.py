"""MobileSAM: the authors' file strictly both ways, its decoder against the original's formulas, saving, predicting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from models_original import MaskDecoder, PromptEncoder
from models_tiny import randomise
from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.models.base import Embedding, PromptTensors
from glesam.models.registry import load_model
from glesam.models.sam.mobile import MobileSamPromptable, mobile_config
from glesam.models.sam.original import convert, load_checkpoint
from glesam.models.sam.tinyvit import TinyVit, TinyVitConfig
from glesam.predict.predictor import Predictor

WIDTH, SIDE = 32, 64
SIZES = TinyVitConfig((8, 8, 8, 8), (1, 1, 2, 1), (1, 2, 2, 2), (1, 3, 3, 3), out_channels=WIDTH)


class OriginalMobileSam(nn.Module):
    """Modules under the names of the authors' file, classifier of the pre-training included."""

    def __init__(self, sizes: TinyVitConfig, width: int, side: int, mlp: int, iou: int) -> None:
        super().__init__()
        self.image_encoder = TinyVit(sizes)
        self.image_encoder.norm_head = nn.LayerNorm(sizes.widths[-1])
        self.image_encoder.head = nn.Linear(sizes.widths[-1], 10)
        self.prompt_encoder = PromptEncoder(width, side)
        self.mask_decoder = MaskDecoder(width, mlp, iou, False, 1e-5)


def original_tiny() -> OriginalMobileSam:
    model = OriginalMobileSam(SIZES, WIDTH, SIDE, 48, 40)
    randomise(model, 5)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)
    return model.eval()


def load_tiny(state: dict[str, Tensor]) -> MobileSamPromptable:
    """The file does not say that this one's input is smaller than MobileSAM's."""
    converted = convert(state, "file")
    model = MobileSamPromptable.from_state(mobile_config(state, "file", SIDE), converted.state, "file")
    return model.place("cpu", torch.float32)


@torch.no_grad()
def mobile_tiny() -> MobileSamPromptable:
    """Random norms near the usual ones: or else, layer by layer, all that is left of an image is their biases."""
    model = load_tiny(dict(original_tiny().state_dict()))
    for module in model.model.vision_encoder.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.weight.abs_().add_(0.5)
            module.bias.mul_(0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.mul_(0.1)
    return model


def test_every_key_of_the_full_size_file_fits(tmp_path: Path) -> None:
    """Keys of the released file: 5 M parameters of TinyViT, the classifier of 1000 kinds, SAM's prompts and decoder."""
    original = OriginalMobileSam(TinyVitConfig(), 256, 1024, 2048, 256)
    original.image_encoder.head = nn.Linear(320, 1000)
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    model = load_checkpoint(tmp_path / "weights.pt")
    assert isinstance(model, MobileSamPromptable)
    assert model.image_size == 1024
    assert model.model.vision_encoder.config.widths == (64, 128, 160, 320)
    own = {k: v for k, v in original.image_encoder.state_dict().items() if not k.startswith(("head.", "norm_head."))}
    found = model.model.vision_encoder.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[key], value) for key, value in own.items())


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        (["mask_decoder.iou_token.weight"], {}, "1 missing .*iou_token"),
        (["image_encoder.layers.2.blocks.1.local_conv.bn.running_mean"], {}, "1 missing .*running_mean"),
        ([], {"image_encoder.extra.weight": torch.zeros(1)}, r"1 unexpected \(image_encoder.extra.weight\)"),
        ([], {"image_encoder.layers.3.extra": torch.zeros(1)}, "1 unexpected .*layers.3.extra"),
        (["image_encoder.layers.1.blocks.0.mlp.fc1.weight"], {}, "full set of keys"),
    ],
)
def test_strict_both_ways(remove: list[str], add: dict[str, Tensor], message: str) -> None:
    state = {k: v for k, v in original_tiny().state_dict().items() if k not in remove} | add
    with pytest.raises(ModelError, match=message):
        load_tiny(state)


@torch.no_grad()
@pytest.mark.parametrize("with_mask", [False, True])
def test_image_to_masks_as_the_original_computes_them(with_mask: bool) -> None:
    original = original_tiny()
    model = load_tiny(original.state_dict())
    generator = torch.Generator().manual_seed(6)
    pixels, mask = torch.randn(1, 3, SIDE, SIDE, generator=generator), torch.randn(1, 1, 16, 16, generator=generator)
    points, labels = torch.rand(2, 2, generator=generator) * SIDE, torch.tensor([1, 0])
    latent, _ = original.image_encoder(pixels)
    assert latent.std() > 0.05
    embedding = model.encode(pixels)
    torch.testing.assert_close(embedding.latent, latent, atol=1e-5, rtol=1e-5)
    encoder = original.prompt_encoder
    tokens = [encoder.token(*p, int(v)) for p, v in zip(points.tolist(), labels.tolist(), strict=True)]
    sparse = torch.stack([*tokens, encoder.token(0, 0, -1)])[None]
    dense = encoder.mask_downscaling(mask) if with_mask else encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    logits, iou = original.mask_decoder(latent, encoder.grid(4), sparse, dense, ())
    prompts = PromptTensors(points[None, None], labels[None, None], mask_input=mask if with_mask else None)
    output = model.decode(embedding, prompts, multimask=True)
    torch.testing.assert_close(output.low_res_logits[0], logits[:, 1:], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(output.iou[0], iou[:, 1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_saved_folder_gives_the_same_bits(tmp_path: Path) -> None:
    model = load_tiny(original_tiny().state_dict())
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, MobileSamPromptable)
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    assert torch.equal(model.encode(pixels).latent, again.encode(pixels).latent)
    prompts = PromptTensors(torch.tensor([[[[20.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.long))
    embedding = Embedding(model.encode(pixels).latent)
    first, second = model.decode(embedding, prompts), again.decode(embedding, prompts)
    assert torch.equal(first.low_res_logits, second.low_res_logits)
    assert torch.equal(first.iou, second.iou)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tiny_vit"]["biased"]
    config["tiny_vit"]["biased"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert not torch.equal(model.encode(pixels).latent, load_model(tmp_path).encode(pixels).latent)
    (tmp_path / "config.json").write_text('{"family": "mobile-sam"}')
    with pytest.raises(ModelError, match="expected a JSON object in 'tiny_vit'"):
        load_model(tmp_path)


def test_predictor_and_everything_mode() -> None:
    predictor = Predictor(load_tiny(original_tiny().state_dict()))
    image = np.random.default_rng(8).integers(0, 256, (40, 60, 3), np.uint8)
    predictor.set_image(image)
    masks = predictor.predict(boxes=[[5, 5, 30, 30], [1, 2, 50, 39]], multimask=True)
    assert masks.masks.shape == (2, 40, 60)
    assert masks.candidates is not None
    assert masks.candidates.shape == (2, 3, 40, 60)
    found = predictor.generate(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0, min_mask_region_area=0)
    assert len(found) > 0


def test_preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By name it is looked for in the user's folder only; elsewhere the message says where it comes from."""
    monkeypatch.setenv("GLESAM_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"MobileSAM/raw/master/weights/mobile_sam.pt \(41 MB\)"):
        load_model("mobile-sam")
    torch.save(original_tiny().state_dict(), tmp_path / "mobile_sam.pt")
    with pytest.raises(ModelError, match="SHA-256 6dbb90523a"):
        load_model("mobile-sam")
