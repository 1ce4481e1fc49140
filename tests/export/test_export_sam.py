"""SAM, MobileSAM, SAM 2 and the head of HQ-SAM exported: the folder answers as the torch model, prompt by prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from heads_tiny import PROMPTS
from models_tiny import SIDE, WIDTH, sam2_tiny, sam_tiny
from test_models_mobile import mobile_tiny
from typer.testing import CliRunner

from full_exports import HEADS, MODELS, measure
from glesam.cli import app
from glesam.enhance.pipeline import Restoration
from glesam.enhance.residual import ResidualEnhancer
from glesam.errors import ConfigError, ModelError
from glesam.export import graphs as graphs_module
from glesam.export.folder import export
from glesam.export.graphs import graphs
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.heads.robust import RobustHead
from glesam.models.base import PromptableModel
from glesam.models.compact.model import CompactModel
from glesam.models.exported.model import RuntimeModel
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.predict.predictor import Predictor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FAMILIES = ["sam", "mobile-sam", "sam2", "sam hq joint", "mobile-sam hq", "sam2 hq"]


def model_of(name: str) -> PromptableModel:
    """A tiny model of a family with random weights, with a head where the name says so."""
    family, *head = name.split()
    base: PromptableModel
    if family == "mobile-sam":
        base = mobile_tiny()
    else:
        base = SamPromptable(sam_tiny()) if family == "sam" else Sam2Promptable(sam2_tiny())
    if not head:
        return base.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        hq = HQHead(WIDTH, base.early_channels, joint="joint" in head)
    return HeadedModel(base, hq).requires_grad_(False)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PromptableModel, Path]:
    """A model and its exported folder; `export` itself compares masks at the image's size, through the predictor."""
    model, folder = model_of(request.param), tmp_path_factory.mktemp("exports") / request.param.replace(" ", "-")
    refine = "off" if "hq" in request.param else "auto"
    comparison = export(Predictor(model, refine=refine), folder, "onnx")
    assert comparison.lowest >= 0.995
    assert max(comparison.errors.values()) < 1e-3
    return model, folder


def pixels(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def test_every_kind_of_prompt_is_answered_as_by_torch(pair: tuple[PromptableModel, Path]) -> None:
    model, folder = pair
    exported = RuntimeModel.from_pretrained(folder)
    with torch.inference_mode():
        own, other = model.encode(pixels(1)), exported.encode(pixels(1))
        torch.testing.assert_close(other.latent, own.latent, atol=1e-4, rtol=1e-4)
        for name, prompts in PROMPTS.items():
            for multimask in (False, True):
                wanted, found = (m.decode(e, prompts, multimask) for m, e in ((model, own), (exported, other)))
                text = f"{name}, multimask {multimask}"
                error = (found.low_res_logits - wanted.low_res_logits).abs().max()
                assert error <= 1e-4 * wanted.low_res_logits.abs().max().clamp(min=1), text
                torch.testing.assert_close(found.iou, wanted.iou, atol=1e-4, rtol=1e-4, msg=text)
                torch.testing.assert_close(found.object_score, wanted.object_score, atol=1e-4, rtol=1e-4)


def test_images_of_a_batch_have_their_own_answers(pair: tuple[PromptableModel, Path]) -> None:
    model, folder = pair
    exported = RuntimeModel.from_pretrained(folder)
    prompts = PROMPTS["points and box"].map(lambda t: t[:, :2].expand(2, *[-1] * (t.dim() - 1)))
    with torch.inference_mode():
        wanted, found = (m.decode(m.encode(pixels(2)), prompts).low_res_logits for m in (model, exported))
    scale = wanted.abs().max().clamp(min=1)
    assert (found - wanted).abs().max() <= 1e-4 * scale
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3 * scale


def test_pixels_and_boxes_are_those_of_the_family(pair: tuple[PromptableModel, Path]) -> None:
    import skimage.data

    model, folder = pair
    exported = RuntimeModel.from_pretrained(folder)
    wanted, found = (m.prepare(skimage.data.cat()) for m in (model, exported))
    assert torch.equal(wanted[0], found[0])
    assert wanted[1] == found[1]
    assert exported.cuts_boxes is model.cuts_boxes


def test_what_has_no_export_is_named_in_one_line(
    small_models: dict[bool, CompactModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sam, compact = model_of("sam"), small_models[True]
    assert isinstance(sam, SamPromptable)
    robust = HeadedModel(sam, RobustHead(WIDTH, sam.early_channels))
    hq = HeadedModel(compact, HQHead(256, compact.early_channels))
    for model, restoration, text in [
        (robust, None, "compact model, SAM, MobileSAM or SAM 2 .* got sam with a robust head"),
        (hq, None, "got compact with a hq head"),
        (sam, Restoration(ResidualEnhancer(WIDTH, 16, 1)), "sam model without an enhancer"),
    ]:
        with pytest.raises(ModelError, match=text) as caught:
            graphs(model, restoration)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(graphs_module, "_LARGEST", 1000)
    with pytest.raises(ModelError, match="less than 2 GB"):
        export(Predictor(sam), tmp_path / "large")
    assert not (tmp_path / "large").exists()


def test_the_command_exports_a_saved_model_with_a_head(tmp_path: Path) -> None:
    headed = model_of("sam hq")
    assert isinstance(headed, HeadedModel)
    headed.base.save_pretrained(tmp_path / "model")
    headed.head.save_pretrained(tmp_path / "head", headed.base)
    arguments = ["export", "--model", str(tmp_path / "model"), "--head", str(tmp_path / "head"), "-o"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert Predictor.from_pretrained(tmp_path / "out").model.family == "exported"
    with pytest.raises(ConfigError, match="no head for an exported model"):
        Predictor.from_pretrained(tmp_path / "out", head=tmp_path / "head")


def test_openvino_answers_too(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    comparison = export(Predictor(model_of("sam2")), tmp_path / "out", "openvino")
    assert comparison.lowest >= 0.995


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", MODELS)
def test_full_size_exports_equal_torch(name: str, head: str, tmp_path: Path) -> None:
    found = measure(name, head, "onnx", tmp_path / "out")
    assert found["iou"] >= 0.999
    assert found["logits"] <= 1e-3 * found["spread"]
