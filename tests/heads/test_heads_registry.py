"""Heads are found, hung on models, saved, and used by predictor, command and evaluation like the models themselves."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from heads_original import original_hq, original_robust
from heads_tiny import MODELS, PROMPTS, embed, tiny
from typer.testing import CliRunner

from glesam.cli import app
from glesam.enhance.bundle import Parts, write_bundle
from glesam.enhance.pipeline import Restoration
from glesam.errors import ConfigError, ModelError
from glesam.evaluate.measure.model_specs import fingerprint, parse_model
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.heads.registry import KINDS, ORIGINAL_FILES, attach, find_head, load_head, new_head
from glesam.models.registry import load_model, presets
from glesam.models.tuned import mask_decoder, save_tuned
from glesam.predict.predictor import Predictor
from glesam.prompts import Prompts
from glesam.weights.folders import state_digest

BOXES = Prompts(boxes=[[4, 4, 30, 30], [20, 10, 60, 40]])
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A compact model in `model` and a loud HQ head for it in `head`; HQ and robust files of the authors' names."""
    root = tmp_path_factory.mktemp("heads")
    base = tiny("compact")
    base.save_pretrained(root / "model")
    base = load_model(root / "model")
    torch.manual_seed(0)
    HQHead(256, base.early_channels).save_pretrained(root / "head", base)
    torch.save(original_hq().state_dict(), root / "hq.pth")
    torch.save(original_robust().state_dict(), root / "robust.pth")
    return root


def answer(predictor):
    predictor.set_image(IMAGE)
    return predictor.predict(points=[[20, 20]], multimask=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_head_answers_as_it_did(tmp_path, kind):
    base = tiny("sam")
    torch.manual_seed(3)
    head = new_head(kind, base).eval()
    torch.nn.init.normal_(head.mlp.proj_out.weight, std=0.1)
    head.save_pretrained(tmp_path / "head", base)
    again = load_head(tmp_path / "head", base)
    assert state_digest(again) == state_digest(head)
    assert again.options == head.options
    with torch.no_grad():
        one, two = (HeadedModel(base, h).decode(embed(HeadedModel(base, h)), PROMPTS["box"]) for h in (head, again))
    assert torch.equal(one.low_res_logits, two.low_res_logits)
    with pytest.raises(ModelError, match="another sam model"):
        load_head(tmp_path / "head", tiny_other())


def tiny_other():
    model = tiny("sam")
    next(model.parameters()).add_(1)
    return model


def test_a_model_with_its_head_is_saved_and_loaded_as_one(tmp_path, folder):
    model = load_model(folder / "hq.pth")
    model.save_pretrained(tmp_path / "both")
    again = load_model(tmp_path / "both")
    assert isinstance(again, HeadedModel)
    assert state_digest(again) == state_digest(model)
    assert again.head.joint


@pytest.mark.parametrize("name", ["hq.pth", "robust.pth"])
def test_an_authors_file_is_a_model_like_any_other(folder, name):
    masks = answer(Predictor.from_pretrained(folder / name, refine="off"))
    assert masks.masks.shape == (1, 48, 64)
    assert masks.candidates.shape == (1, 3, 48, 64)


def test_predictor_hangs_a_head_on_a_model(folder):
    plain = answer(Predictor.from_pretrained(folder / "model", refine="off"))
    headed = Predictor.from_pretrained(folder / "model", head=folder / "head", refine="off")
    with_head = answer(headed)
    assert not np.array_equal(plain.logits, with_head.logits)
    assert np.array_equal(plain.scores, with_head.scores)
    assert plain.info["weights"] != with_head.info["weights"]
    alone = answer(Predictor.from_pretrained(folder / "model", head=folder / "head", head_mode="hq", refine="off"))
    assert not np.array_equal(alone.logits, with_head.logits)
    several = headed.predict_batch([IMAGE, IMAGE[::-1].copy()], [BOXES] * 2, batch_size=2)
    assert np.allclose(several[0].logits, headed_single(headed), atol=1e-4)


def headed_single(predictor):
    predictor.reset()
    predictor.set_image(IMAGE)
    return predictor.predict(BOXES).logits


def test_a_file_gives_its_head_to_the_same_model_and_to_no_other(folder):
    base = load_model(folder / "hq.pth").base
    headed = attach(folder / "hq.pth", base, "mine")
    assert state_digest(headed) == state_digest(load_model(folder / "hq.pth"))
    with pytest.raises(ModelError, match="other weights"):
        attach(folder / "robust.pth", base, "mine")
    assert attach("hq", headed, "mine", "hq").head.mode == "hq"
    assert attach(None, headed, "mine", "sum").head.mode == "sum"


def test_heads_are_found_by_kind_in_the_users_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GLESAM_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"expected sam_hq_vit_b\.pth in .*download it from https://"):
        find_head("hq", "sam-vit-b")
    (tmp_path / "sam_hq_vit_b.pth").touch()
    assert find_head("hq", "sam-vit-b") == tmp_path / "sam_hq_vit_b.pth"
    with pytest.raises(ModelError, match="glesam train head --kind robust"):
        find_head("robust", "compact")
    with pytest.raises(ModelError, match="expected a head of hq, robust"):
        find_head("sharp", "compact")
    names = {preset.name for preset in presets()}
    assert {row.model for row in ORIGINAL_FILES} <= names
    assert {row.kind for row in ORIGINAL_FILES} <= set(KINDS)


def test_wrong_wishes_get_one_line(folder):
    with pytest.raises(ConfigError, match="sum, hq"):
        Predictor.from_pretrained(folder / "model", head=folder / "head", head_mode="both")
    with pytest.raises(ModelError, match="name a head"):
        Predictor.from_pretrained(folder / "model", head_mode="hq")
    with pytest.raises(ModelError, match="without a head for the head"):
        Predictor.from_pretrained(folder / "hq.pth", head=folder / "head")
    with pytest.raises(ConfigError, match="one way to answer"):
        Predictor.from_pretrained(folder / "robust.pth", head_mode="hq")


@torch.no_grad()
def test_parts_tuned_for_degraded_images_carry_the_head_too(folder):
    base = load_model(folder / "model")
    headed = HeadedModel(base, load_head(folder / "head", base))
    restoration = Restoration(decoder=base, encoder=base).under(headed.over)
    pixels = torch.zeros(1, 3, 64, 64)
    embedding = restoration.restore(headed, headed.encode(pixels), pixels=pixels)
    assert embedding.early is not None
    found = restoration.decode(headed, embedding, PROMPTS["points"])
    assert torch.equal(found.low_res_logits, headed.decode(embedding, PROMPTS["points"]).low_res_logits)


def test_the_command_takes_a_head(folder, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "photo.png"), IMAGE)
    arguments = ["segment", str(tmp_path / "photo.png"), "--point", "20,20", "--model", str(folder / "model"), "--json"]
    for out, more in (("plain", []), ("head", ["--head", str(folder / "head")])):
        done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / f"{out}.json"), "--refine", "off", *more])
        assert done.exit_code == 0, done.output
    plain, headed = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "head"))
    assert plain["annotations"][0]["segmentation"] != headed["annotations"][0]["segmentation"]


def test_evaluation_takes_a_head(folder):
    spec = parse_model(f"{folder / 'model'}@head={folder / 'head'}@enhance=off")
    assert (spec.head, spec.enhance) == (str(folder / "head"), "off")
    assert fingerprint(spec) != fingerprint(parse_model(f"{folder / 'model'}@enhance=off"))


def test_a_head_leaves_how_often_the_model_answers() -> None:
    for name in MODELS:
        base = tiny(name)
        assert HeadedModel(base, new_head("hq", base)).answers_again == base.answers_again == (name == "compact")


@pytest.mark.parametrize("name", ["headed", "hq.pth"])
def test_a_model_that_carries_its_head_takes_an_enhancer_as_one_with_a_head_beside_it(folder, tmp_path, name):
    head = folder / ("head" if name == "headed" else name)
    base = load_model(folder / "model") if name == "headed" else load_model(head).base
    headed = attach(head, base, "mine")
    headed.save_pretrained(tmp_path / "headed")
    tuned = copy.deepcopy(base)
    keys = [key for key in mask_decoder(tuned).state_dict() if key.startswith("output_hypernetworks_mlps")]
    for key, value in mask_decoder(tuned).named_parameters():
        value.data.mul_(1.5 if key in keys else 1.0)
    save_tuned(tuned, "decoder", tmp_path / "decoder", keys)
    write_bundle(tmp_path / "bundle", base, Parts(decoder=tmp_path / "decoder"))
    base.save_pretrained(tmp_path / "base")
    options = {"enhancer": tmp_path / "bundle", "refine": "off"}
    carried = tmp_path / name if name == "headed" else folder / name
    for enhance in ("on", "off"):
        own = answer(Predictor.from_pretrained(carried, enhance=enhance, **options))
        beside = answer(Predictor.from_pretrained(tmp_path / "base", enhance=enhance, head=head, **options))
        assert np.array_equal(own.logits, beside.logits)
        assert own.info["enhanced"] == (enhance == "on")
    plain = answer(Predictor.from_pretrained(tmp_path / "base", enhance="on", **options))
    assert not np.array_equal(plain.logits, answer(Predictor.from_pretrained(carried, enhance="on", **options)).logits)


@pytest.mark.parametrize("name", MODELS)
def test_a_headed_model_in_half_precision_is_saved_and_loaded_in_float32(tmp_path, name):
    base = tiny(name)
    headed = HeadedModel(base, new_head("hq", base)).place("cpu", torch.bfloat16)
    weights = {key: value.float() for key, value in headed.state_dict().items()}
    headed.save_pretrained(tmp_path / "both")
    again = load_model(tmp_path / "both")
    assert again.dtype is torch.float32
    assert again.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in again.state_dict().items())
    with pytest.raises(ModelError, match=rf"expected the {name} model in float32 .* got it in bfloat16; load it"):
        load_head(tmp_path / "both" / "head", headed.base)
