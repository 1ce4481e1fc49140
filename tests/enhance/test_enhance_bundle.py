"""Bundles: what goes in comes out, for the right base model only; off is the base; each part acts where it should."""

import copy
import json

import numpy as np
import pytest
import torch
from models_tiny import sam2_tiny, sam_tiny
from test_models_mobile import mobile_tiny
from train_tiny import tiny_model, tiny_prior

from glesam.enhance.bundle import Parts, load_bundle, read_rules, write_bundle
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ModelError
from glesam.evaluate.measure.model_specs import fingerprint, parse_model, predictor_loader
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.models.tuned import mask_decoder, save_tuned
from glesam.predict.embeddings import Encoded
from glesam.predict.predictor import Predictor
from glesam.train.config import EnhancerConfig
from glesam.train.stages.enhancer import build_enhancer
from glesam.weights.folders import state_digest


def photo():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def masks_of(predictor, **prompt):
    predictor.set_image(photo())
    return predictor.predict(**(prompt or {"points": [[[20, 20]], [[40, 30]]]}))


def changed_decoder(model, folder):
    """A decoder that differs from the base model's in all four heads."""
    decoder = mask_decoder(model)
    before = {k: v.clone() for k, v in decoder.state_dict().items()}
    names = [k for k in before if k.startswith("output_hypernetworks_mlps")]
    with torch.no_grad():
        for name, value in decoder.named_parameters():
            if name in names:
                value.mul_(1.5)
    save_tuned(model, "decoder", folder, names)
    decoder.load_state_dict(before)
    return folder


def gate_at(folder, level, threshold=0.5, channels=256):
    """A gate that says the same of every photo: equal odds for each of the three questions."""
    gate = DegradationGate(channels, hidden=4, threshold=threshold)
    for parameter in gate.parameters():
        torch.nn.init.zeros_(parameter)
    share = torch.tensor(level / 3).clamp(1e-4, 1 - 1e-4)
    gate.output.bias.data.fill_(torch.logit(share))
    gate.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with a base model, a U-Net enhancer with adapters, a residual one, a decoder, gates and a skip branch."""
    root = tmp_path_factory.mktemp("bundle")
    base = CompactModel.from_pretrained(tiny_model(root / "base"))
    network = ResidualEnhancer(256, 8, 1)
    torch.nn.init.normal_(network.tail.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    network.save_pretrained(root / "residual")
    unet = build_enhancer(EnhancerConfig(prior=str(tiny_prior(root / "prior")), rank=2, timestep=200), 256, 1.0)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    unet.save_pretrained(root / "unet")
    changed_decoder(base, root / "decoder")
    gate_at(root / "clear", 0.0)
    gate_at(root / "bad", 2.4)
    branch = SkipAdapter("branch")
    for one in branch.branches:
        torch.nn.init.normal_(one.narrow.weight, std=0.5, generator=torch.Generator().manual_seed(2))
    branch.save_pretrained(root / "branch")
    attenuate = SkipAdapter("attenuate")
    for slope in attenuate.slopes:
        torch.nn.init.constant_(slope, 2.0)
    attenuate.save_pretrained(root / "attenuate")
    return root, base


def bundle(made, folder, rules=(), half=False, int8=False, **parts):
    root, base = made
    return write_bundle(folder, base, Parts(**{name: root / part for name, part in parts.items()}), rules, half, int8)


@pytest.mark.parametrize("kind", ["unet", "residual"])
def test_everything_comes_back_and_off_is_the_base_bit_for_bit(made, tmp_path, kind):
    root, base = made
    folder = bundle(made, tmp_path / "b", enhancer=kind, decoder="decoder", gate="bad", skips="branch")
    plain = masks_of(Predictor(base))
    off = Predictor.from_pretrained(root / "base", enhance="off", enhancer=folder)
    assert masks_of(off).logits.tobytes() == plain.logits.tobytes()
    assert masks_of(off).scores.tobytes() == plain.scores.tobytes()
    off.enhance = "on"
    on = masks_of(off)
    assert not np.allclose(on.logits, plain.logits)
    off.enhance = "auto"
    assert masks_of(off).logits.tobytes() == on.logits.tobytes()
    base_digest, enhancer_digest = on.info["weights"].split("+")
    assert plain.info["weights"] == base_digest
    assert len(enhancer_digest) == 16
    clean = Predictor.from_pretrained(
        root / "base", enhancer=bundle(made, tmp_path / "c", enhancer=kind, decoder="decoder", gate="clear")
    )
    assert masks_of(clean).logits.tobytes() == plain.logits.tobytes()
    assert masks_of(clean).info["enhanced"] is False


def test_each_part_does_what_its_pieces_do_by_hand(made, tmp_path):
    from glesam.enhance.registry import load_enhancer
    from glesam.models.tuned import with_tuned

    root, base = made
    folder = bundle(made, tmp_path / "b", enhancer="unet", decoder="decoder", skips="branch")
    restoration = load_bundle(folder, base)
    with torch.inference_mode():
        raw = base.encode(base.preprocess(photo())[0])
        latent = load_enhancer(root / "unet")(raw.latent)
        expected = SkipAdapter.from_pretrained(root / "branch")(raw.with_latent(latent), None)
        got = restoration.restore(base, raw)
    torch.testing.assert_close(got.latent, latent, rtol=0, atol=1e-4)
    for ours, theirs in zip(got.skips, expected.skips, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
    tuned = Predictor(with_tuned(base, "decoder", root / "decoder"), "on", load_enhancer(root / "unet"))
    ours = masks_of(
        Predictor(base, "on", load_bundle(bundle(made, tmp_path / "d", enhancer="unet", decoder="decoder"), base))
    )
    np.testing.assert_allclose(ours.logits, masks_of(tuned).logits, atol=1e-3)


def test_a_decoder_alone_is_used_only_when_enhanced(made, tmp_path):
    _, base = made
    p = Predictor(base, "off", load_bundle(bundle(made, tmp_path / "b", decoder="decoder"), base))
    off = masks_of(p).logits
    p.enhance = "on"
    assert not np.array_equal(masks_of(p).logits, off)
    assert np.array_equal(off, masks_of(Predictor(base)).logits)


def test_half_precision_is_small_and_near(made, tmp_path):
    _, base = made
    whole, half = (bundle(made, tmp_path / str(h), half=h, enhancer="unet", decoder="decoder") for h in (False, True))
    sizes = [sum(f.stat().st_size for f in folder.rglob("*.safetensors")) for folder in (whole, half)]
    assert sizes[1] < 0.55 * sizes[0]
    a, b = (masks_of(Predictor(base, "on", load_bundle(folder, base))).logits for folder in (whole, half))
    assert np.abs(a - b).max() < 0.02 * np.abs(a).max()


def test_eight_bits_are_smaller_still_and_near(made, tmp_path):
    _, base = made
    folders = [
        bundle(made, tmp_path / str(i), half=not i, int8=bool(i), enhancer="unet", decoder="decoder") for i in (0, 1)
    ]
    sizes = [sum(f.stat().st_size for f in folder.rglob("*.safetensors")) for folder in folders]
    assert sizes[1] < 0.7 * sizes[0]
    a, b = (masks_of(Predictor(base, "on", load_bundle(folder, base))).logits for folder in folders)
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()


def test_small_boxes_keep_the_base_model_where_the_gate_decides(made, tmp_path):
    _, base = made
    rules = (LevelRule(0, image_size=32, least_box=0.01),)
    restoration = load_bundle(bundle(made, tmp_path / "b", rules, enhancer="residual", gate="bad"), base)
    # Of 64 x 48 pixels a hundredth is 30.72: the first box has 30, the second 31, and the others are far from it.
    boxes = [[1, 1, 7, 6], [1, 1, 32, 2], [5, 5, 40, 40], [60, 40, 62, 43]]
    plain, auto, on = (
        masks_of(Predictor(base, mode, restoration), boxes=boxes, points=[[[3, 3]], [[9, 2]], [[9, 9]], [[61, 41]]])
        for mode in ("off", "auto", "on")
    )
    for index, small in enumerate((True, False, False, True)):
        own = plain.logits[index] if small else on.logits[index]
        np.testing.assert_allclose(auto.logits[index], own, atol=1e-5)
        assert not np.allclose(on.logits[index], plain.logits[index], atol=1e-3)
    clicks = [masks_of(Predictor(base, mode, restoration)).logits for mode in ("auto", "on")]
    np.testing.assert_array_equal(*clicks)


def test_where_the_gate_decides_the_base_models_logits_count_in_part(made, tmp_path, monkeypatch):
    _, base = made
    monkeypatch.setattr(CompactModel, "answers_again", False)  # a second answer has another mask prompt in each mode
    rules = (LevelRule(0, image_size=32, least_box=0.01, base_share=0.3),)
    restoration = load_bundle(bundle(made, tmp_path / "b", rules, enhancer="residual", gate="bad"), base)
    # The first box is below a hundredth of 64 x 48 pixels: it keeps the base model's mask whole.
    prompts = {"boxes": [[1, 1, 7, 6], [5, 5, 40, 40]], "points": [[[3, 3]], [[9, 9]]]}
    plain, auto, on = (masks_of(Predictor(base, mode, restoration), **prompts) for mode in ("off", "auto", "on"))
    assert not np.allclose(plain.logits[1], on.logits[1], atol=1e-3)
    np.testing.assert_allclose(auto.logits[0], plain.logits[0], atol=1e-5)
    np.testing.assert_allclose(auto.logits[1], 0.3 * plain.logits[1] + 0.7 * on.logits[1], atol=1e-5)
    np.testing.assert_allclose(auto.scores[1], 0.3 * plain.scores[1] + 0.7 * on.scores[1], atol=1e-5)
    single = {"points": [[20, 20]], "multimask": True}
    found = [masks_of(Predictor(base, mode, restoration), **single).logits for mode in ("auto", "on")]
    np.testing.assert_array_equal(*found)


def test_clicks_on_what_the_base_model_finds_small_keep_its_mask(made, tmp_path, monkeypatch):
    _, base = made
    monkeypatch.setattr(CompactModel, "answers_again", False)
    clicks = {"points": [[[20, 20]], [[40, 30]], [[60, 5]]]}
    rules = (LevelRule(0, image_size=32, least_box=0.2, base_share=0.3),)
    restoration = load_bundle(bundle(made, tmp_path / "b", rules, enhancer="residual", gate="bad"), base)
    plain, on = (masks_of(Predictor(base, mode, restoration), **clicks) for mode in ("off", "on"))
    asked = []

    def small(encoded, logits, share):
        asked.append((logits.numpy(), share))
        return torch.tensor([True, False, True])

    monkeypatch.setattr(Encoded, "small_masks", small)
    auto = masks_of(Predictor(base, "auto", restoration), **clicks)
    np.testing.assert_allclose(asked[0][0][:, : plain.logits.shape[-2]], plain.logits, atol=1e-5)
    assert asked[0][1] == 0.2
    for index, part in enumerate((1.0, 0.3, 1.0)):
        expected = part * plain.logits[index] + (1 - part) * on.logits[index]
        np.testing.assert_allclose(auto.logits[index], expected, atol=1e-5)


def test_small_boxes_in_windows_of_a_big_image_keep_the_base_model_too(made, tmp_path):
    _, base = made
    restoration = load_bundle(
        bundle(made, tmp_path / "b", (LevelRule(0, image_size=32, least_box=0.01),), enhancer="residual", gate="bad"),
        base,
    )
    small, large = [[1, 1, 7, 6]], [[5, 5, 40, 40]]
    for boxes, kept in ((small, "off"), (large, "on")):
        found = {}
        for mode in ("off", "auto", "on"):
            predictor = Predictor(base, mode, restoration)
            predictor.set_image(photo())
            found[mode] = predictor.predict(boxes=boxes, tile=64).scores
        np.testing.assert_array_equal(found["auto"], found[kept])
        assert found["off"] != pytest.approx(found["on"])


def test_level_chooses_strength_and_timestep(made, tmp_path):
    from glesam.enhance.registry import load_enhancer

    root, base = made
    rules = (LevelRule(0, timestep=1), LevelRule(1, strength=0.5), LevelRule(2, timestep=400))
    restoration = load_bundle(bundle(made, tmp_path / "b", rules, enhancer="unet", gate="bad"), base)
    latent = torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(3))
    told = restoration.judge(Embedding(latent, ())).level
    assert told == pytest.approx(2.4, abs=0.01)
    unet = load_enhancer(root / "unet")
    with torch.inference_mode():
        raw = base.encode(torch.zeros(1, 3, 64, 64)).with_latent(latent)
        expected = {0.0: unet.at(1)(latent), 1.5: (latent + unet(latent)) / 2, told: unet.at(400)(latent)}
        for level, wanted in expected.items():
            torch.testing.assert_close(restoration.restore(base, raw, level).latent, wanted, rtol=1e-3, atol=1e-3)
    assert all((one - latent).std() > 0.01 for one in expected.values())


class Border(PromptableModel):
    """Everything right of an object's point; logits are linear in x, in cells of 4 pixels of whatever it encoded."""

    family, image_size = "border", 128

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.sides = []

    def preprocess(self, image):
        return torch.zeros(1, 3, 128, 128), ImageGeometry(image.shape[:2], (128, 128), 128)

    def encode(self, pixel_values):
        self.sides.append(pixel_values.shape[-1])
        return Embedding(torch.zeros(1, 256, pixel_values.shape[-1] // 16, pixel_values.shape[-1] // 16))

    def decode(self, embedding, prompts, multimask=False):
        side = 4 * embedding.latent.shape[-1]
        if prompts.mask_input is not None:
            assert prompts.mask_input.shape[-1] == side
        corner = prompts.boxes[..., 0] if prompts.point_coords is None else prompts.point_coords[:, :, 0, 0]
        logits = (torch.arange(side) + 0.5) * 4 - corner[..., None]
        return MaskOutput(logits[:, :, None, None].expand(-1, -1, 1, side, -1), torch.ones(*corner.shape, 1))

    def save_pretrained(self, folder):
        raise NotImplementedError


@pytest.mark.parametrize("prompt", [{"points": [[52.0, 20.0]]}, {"boxes": [[52.0, 3.0, 90.0, 60.0]]}])
def test_a_smaller_square_keeps_the_places_of_prompts_and_masks(prompt):
    model = Border()
    p = Predictor(model, "on", Restoration(rules=(LevelRule(0, image_size=64),)))
    masks = masks_of(p, **prompt)
    assert model.sides == [128, 64]
    assert masks.logits.shape == (1, 32, 32)
    assert masks.masks[0, :, 53:].all()
    assert not masks.masks[0, :, :51].any()
    assert np.array_equal(p.predict(**prompt, mask_input=masks.logits).masks, masks.masks)
    p.enhance = "off"
    assert masks_of(p, **prompt).logits.tobytes() == masks_of(Predictor(model), **prompt).logits.tobytes()


def test_a_smaller_square_of_the_compact_model_is_what_its_parts_give(made, tmp_path):
    _, base = made
    restoration = load_bundle(bundle(made, tmp_path / "b", (LevelRule(0, image_size=32),)), base)
    pixels, geometry = base.preprocess(photo())
    with torch.inference_mode():
        small = base.encode(torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True))
        embedding = restoration.restore(base, base.encode(pixels), None, pixels)
        torch.testing.assert_close(embedding.latent, small.latent)
        points, labels = torch.tensor([[[[20.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.long)
        expected = base.decode(small, PromptTensors(points / 2, labels)).low_res_logits
        got = restoration.decode(base, embedding, PromptTensors(points, labels)).low_res_logits
    assert got.shape == (1, 1, 1, 16, 16)
    torch.testing.assert_close(got[0], torch.nn.functional.interpolate(expected[0], (16, 16), mode="bilinear"))
    assert geometry.image_size == 64


@pytest.mark.parametrize("rules", [(), (LevelRule(0, image_size=32),)], ids=["own size", "smaller"])
def test_a_tuned_encoder_encodes_degraded_photos_anew_and_leaves_the_base_alone(made, tmp_path, rules):
    _, base = made
    before = state_digest(base)
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.encoder.neck.norm.weight.mul_(1.7)
    save_tuned(other, "encoder", tmp_path / "encoder", ["neck.norm.weight"])
    folder = write_bundle(tmp_path / "b", base, Parts(encoder=tmp_path / "encoder"), rules)
    restoration = load_bundle(folder, base)
    pixels, _ = base.preprocess(photo())
    size = 32 if rules else 64
    square = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    with torch.inference_mode():
        got = restoration.restore(base, base.encode(pixels), None, pixels)
        torch.testing.assert_close(got.latent, other.encode(square).latent)
        assert not torch.allclose(got.latent, base.encode(square).latent)
        with pytest.raises(ModelError, match="second encoding"):
            restoration.restore(base, base.encode(pixels))
    assert state_digest(base) == before
    on = Predictor(base, "on", restoration)
    assert masks_of(on).logits.tobytes() != masks_of(Predictor(base)).logits.tobytes()


def test_the_wrong_base_is_refused(made, tmp_path):
    root, _ = made
    folder = bundle(made, tmp_path / "b", enhancer="residual")
    other = CompactModel.from_pretrained(root / "base")
    with torch.no_grad():
        other.encoder.skip4.bias.add_(1e-3)
    with pytest.raises(ModelError, match="other weights of the same family"):
        load_bundle(folder, other)
    with pytest.raises(ModelError, match="'family': 'sam'"):
        load_bundle(folder, SamPromptable(sam_tiny()))


def test_broken_folders_are_refused(made, tmp_path):
    root, base = made
    with pytest.raises(ModelError, match="glesam train bundle"):
        load_bundle(root / "residual", base)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_bundle(tmp_path, base)
    folder = bundle(made, tmp_path / "b", enhancer="residual")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "parts": ["enhancers"]}))
    with pytest.raises(ModelError, match="'enhancers'"):
        load_bundle(folder, base)
    (folder / "config.json").write_text(json.dumps({**config, "rules": [{"below": 1}]}))
    with pytest.raises(ModelError, match="below"):
        load_bundle(folder, base)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "enhancer" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        load_bundle(folder, base)


@pytest.mark.parametrize(
    ("parts", "rules", "message"),
    [
        ({}, (), "got none; add a part"),
        ({"gate": "clear"}, (), "got none; add a part"),
        ({"enhancer": "residual"}, (LevelRule(0), LevelRule(1)), "expected a gate"),
        ({"skips": "attenuate"}, (), "expected a gate"),
        ({"enhancer": "residual"}, (LevelRule(0, timestep=1),), "diffusion enhancer"),
        ({"enhancer": "residual"}, (LevelRule(0, image_size=48),), "multiples of 32"),
        ({"enhancer": "residual"}, (LevelRule(0, near_size=48, near_boxed=0.1),), "multiples of 32"),
        ({"enhancer": "residual"}, (LevelRule(1),), "from level 0"),
    ],
)
def test_parts_that_make_no_sense_are_refused(made, tmp_path, parts, rules, message):
    with pytest.raises(ModelError, match=message):
        bundle(made, tmp_path / "b", rules, **parts)


def test_rules_file(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text('[{"above": 0, "near_size": 288}, {"above": 1.5, "image_size": 256, "strength": 0.5}]')
    assert read_rules(path) == (LevelRule(0, near_size=288), LevelRule(1.5, None, 0.5, 256))
    for text, message in (("{}", "JSON list"), ("[1]", "JSON list"), ('[{"abov": 1}]', "abov"), ("x", "expected JSON")):
        path.write_text(text)
        with pytest.raises(ModelError, match=message):
            read_rules(path)
    with pytest.raises(ModelError, match="strength of 0 to 2"):
        LevelRule(0, strength=3)
    with pytest.raises(ModelError, match="shares of 0 to 1"):
        LevelRule(0, least_box=2)
    with pytest.raises(ModelError, match="shares of 0 to 1"):
        LevelRule(0, base_share=1)


SAMS = {
    "sam": lambda: SamPromptable(sam_tiny()),
    "sam2": lambda: Sam2Promptable(sam2_tiny()),
    "mobile-sam": mobile_tiny,
}


@pytest.mark.parametrize("family", SAMS)
def test_the_sams_take_a_bundle_with_decoder(tmp_path, family):
    base = SAMS[family]()
    base.save_pretrained(tmp_path / "base")
    channels = base.encode(torch.zeros(1, 3, base.image_size, base.image_size)).latent.shape[1]
    network = ResidualEnhancer(channels, 8, 1)
    torch.nn.init.normal_(network.tail.weight, std=0.5)
    network.save_pretrained(tmp_path / "enhancer")
    gate_at(tmp_path / "gate", 2.0, channels=channels)
    parts = Parts(tmp_path / "enhancer", changed_decoder(base, tmp_path / "decoder"), tmp_path / "gate")
    folder = write_bundle(tmp_path / "b", base, parts)
    p = Predictor.from_pretrained(tmp_path / "base", enhancer=folder)
    enhanced = masks_of(p)
    p.enhance = "off"
    plain = masks_of(Predictor.from_pretrained(tmp_path / "base"))
    assert masks_of(p).logits.tobytes() == plain.logits.tobytes()
    assert not np.allclose(enhanced.logits, plain.logits)
    with pytest.raises(ModelError, match="compact model"):
        write_bundle(tmp_path / "c", base, parts, (LevelRule(0, image_size=256),))


def test_mobile_sam_is_enhanced_by_a_unet_with_adapters_and_at_strength_0_not_at_all(made, tmp_path):
    base = mobile_tiny()
    base.save_pretrained(tmp_path / "base")
    unet = build_enhancer(EnhancerConfig(prior=str(made[0] / "prior"), rank=2, timestep=500), 32, 1.0)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    unet.save_pretrained(tmp_path / "unet")
    plain, tuned = masks_of(Predictor(base)), masks_of(Predictor(base, "on", unet))
    scale = np.abs(plain.logits).max()
    assert np.abs(tuned.logits - plain.logits).max() > 0.02 * scale
    for strength, expected, most in ((0.0, plain, 0), (1.0, tuned, 1e-4 * scale)):
        folder = write_bundle(
            tmp_path / f"b{strength}", base, Parts(tmp_path / "unet"), (LevelRule(strength=strength),)
        )
        found = masks_of(Predictor.from_pretrained(tmp_path / "base", enhance="on", enhancer=folder))
        assert found.info["enhanced"]
        np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=most)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=most)


def test_evaluate_takes_model_plus_enhancer(made, tmp_path):
    root, base = made
    folder = bundle(made, tmp_path / "b", enhancer="residual", gate="bad")
    spec = parse_model(f"{root / 'base'}+{folder}@enhance=on")
    assert (spec.name, spec.enhancer, spec.enhance) == (str(root / "base"), str(folder), "on")
    got = masks_of(predictor_loader("cpu")(spec))
    assert got.logits.tobytes() == masks_of(Predictor(base, "on", load_bundle(folder, base))).logits.tobytes()
    off = parse_model(f"{root / 'base'}+{folder}@enhance=off")
    assert fingerprint(off) == fingerprint(parse_model(str(root / "base"))) != fingerprint(spec)
