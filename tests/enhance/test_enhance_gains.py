"""The gate by gain: features against numpy, decisions apart for clicks and boxes, its folder, its place in use."""

import json

import numpy as np
import pytest
import torch
from train_tiny import tiny_model

from glesam.enhance.bundle import Parts, load_bundle, load_gate, write_bundle
from glesam.enhance.gains import STATISTICS, GainGate, gate_features, pixel_statistics
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.errors import ModelError
from glesam.models.base import FINE, Embedding
from glesam.models.compact.model import CompactModel
from glesam.predict.predictor import Predictor


def embedding(early=True):
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, c, s, s, generator=draw) for c, s in ((6, 4), (3, 16), (5, 8))]
    return Embedding(maps[0], (maps[1], maps[2]), {FINE: torch.randn(1, 2, 32, 32, generator=draw)} if early else {})


def fixed(gate, gains, level=1.0):
    """A gate that says the same of every image."""
    for parameter in gate.parameters():
        torch.nn.init.zeros_(parameter)
    share = torch.logit(torch.tensor(level / 3))
    gate.output.bias.data = torch.tensor([share, share, share, *gains])
    return gate.eval()


def test_features_are_numpys_means_and_deviations_of_every_map():
    maps = embedding()
    pixels = torch.rand(1, 3, 64, 48)
    got = gate_features(maps, pixels)[0].numpy()
    wanted = []
    for each in (maps.latent, *maps.skips, maps.extras[FINE]):
        flat = each[0].numpy().reshape(each.shape[1], -1)
        wanted += [flat.mean(axis=1), flat.std(axis=1)]
    np.testing.assert_allclose(got[: 2 * (6 + 3 + 5 + 2)], np.concatenate(wanted), atol=1e-5)
    assert len(got) == 2 * (6 + 3 + 5 + 2) + STATISTICS


def test_pixel_statistics_tell_noise_blur_and_haze_apart():
    ys, xs = np.mgrid[:96, :128]
    plain = np.stack([np.sin(xs / 5) + np.cos(ys / 7)] * 3).astype(np.float32)
    rng = np.random.default_rng(0)
    noisy = plain + rng.normal(0, 0.3, plain.shape).astype(np.float32)
    hazy = 0.4 * plain + 0.6 * 2
    one, two, three = (
        pixel_statistics(torch.from_numpy(np.asarray(i, np.float32))[None])[0] for i in (plain, noisy, hazy)
    )
    np.testing.assert_allclose(one[:3], plain.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(one[3:6], plain.std(axis=(1, 2)), atol=1e-5)
    assert two[11] > one[11] + 1  # noise at the finest scale
    assert three[9] > one[9] + 0.5  # the dark channel
    # Immerkaer: the mean response to noise of deviation s is s * 6 * sqrt(2 / pi) for a colour, grey is a third's mean.
    flat = torch.from_numpy(rng.normal(0, 0.5, (1, 1, 256, 256)).astype(np.float32)).expand(1, 3, 256, 256)
    assert float(pixel_statistics(flat)[0, 11].exp()) == pytest.approx(0.5 * 6 * np.sqrt(2 / np.pi), rel=0.03)


def test_narrow_images_have_finite_features():
    assert torch.isfinite(gate_features(embedding(), torch.rand(1, 3, 3, 40))).all()
    assert torch.isfinite(gate_features(embedding(), torch.rand(1, 3, 16, 16))).all()


def test_answers_are_the_formula_and_the_folder_gives_the_same_gate_back(tmp_path):
    torch.manual_seed(1)
    gate = GainGate.of(embedding(), hidden=7).eval()
    gate.margins = (0.01, -0.02)
    features = torch.randn(5, gate.centre.shape[0])
    gate.fit_features(features)
    odds, gains = gate.answers(features)
    scaled = (features - features.mean(dim=0)) / features.std(dim=0)
    hidden = torch.nn.functional.gelu(scaled @ gate.input.weight.T + gate.input.bias)
    out = hidden @ gate.output.weight.T + gate.output.bias
    torch.testing.assert_close(torch.cat([odds, gains], 1), out, atol=1e-4, rtol=1e-4)
    gate.save_pretrained(tmp_path)
    again, pixels = load_gate(tmp_path), torch.rand(1, 3, 64, 64)
    assert isinstance(again, GainGate)
    assert again.margins == (0.01, -0.02)
    assert again.verdict(embedding(), pixels) == gate.verdict(embedding(), pixels)


def test_clicks_and_boxes_are_decided_apart_by_their_margins():
    gate = fixed(GainGate.of(embedding()), (0.03, 0.01), level=1.2)
    gate.margins = (0.02, 0.02)
    verdict = gate.verdict(embedding(), torch.rand(1, 3, 64, 64))
    assert (verdict.points, verdict.boxes, verdict.enhanced) == (True, False, True)
    assert verdict.level == pytest.approx(1.2, abs=1e-5)
    assert verdict.gains == pytest.approx((0.03, 0.01))


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ModelError, match="margins"):
        GainGate(margins=(2.0, 0.0))
    gate = GainGate.of(embedding())
    with pytest.raises(ModelError, match="early channels"):
        gate.verdict(embedding(early=False), torch.rand(1, 3, 64, 64))
    with pytest.raises(ModelError, match="one image"):
        gate.verdict(embedding(), torch.rand(2, 3, 64, 64))
    with pytest.raises(ModelError, match="pixels for the gate"):
        Restoration(gate=gate).judge(embedding())
    gate.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden": 5}))
    with pytest.raises(ModelError, match="another shape"):
        load_gate(tmp_path)


def test_gates_by_level_load_as_before(tmp_path):
    DegradationGate(6, hidden=3).save_pretrained(tmp_path)
    assert isinstance(load_gate(tmp_path), DegradationGate)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("gains")
    return root, CompactModel.from_pretrained(tiny_model(root / "base"))


@pytest.mark.parametrize("gains", [(0.1, -0.1), (-0.1, 0.1), (0.1, 0.1), (-0.1, -0.1)])
def test_auto_answers_each_kind_of_prompt_on_its_embedding(place, tmp_path, gains):
    _, base = place
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    pixels, _ = base.prepare(image)
    with torch.no_grad():
        gate = fixed(GainGate.of(base.encode(pixels)), gains)
    gate.save_pretrained(tmp_path / "gate")
    folder = write_bundle(tmp_path / "b", base, Parts(gate=tmp_path / "gate"), [LevelRule(0, image_size=32)])
    predictor = Predictor(base, "auto", load_bundle(folder, base))
    prompts = {"points": {"points": [[[20, 20]], [[40, 30]]]}, "boxes": {"boxes": [[5, 5, 40, 40], [10, 8, 60, 44]]}}
    answers = {}
    for mode in ("off", "on", "auto"):
        predictor.enhance = mode
        predictor.set_image(image)
        answers[mode] = {name: predictor.predict(**prompt) for name, prompt in prompts.items()}
    for name, gain in zip(prompts, gains, strict=True):
        wanted, other = ("on", "off") if gain > 0 else ("off", "on")
        found = answers["auto"][name]
        assert found.logits.tobytes() == answers[wanted][name].logits.tobytes()
        assert found.masks.tobytes() == answers[wanted][name].masks.tobytes()
        assert found.logits.tobytes() != answers[other][name].logits.tobytes()
        assert found.info["enhanced"] is (gain > 0)
        assert found.info["enhanced_for"] == {"points": gains[0] > 0, "boxes": gains[1] > 0}
        assert found.info["expected_gain"] == {"points": gains[0], "boxes": gains[1]}
        assert "expected_gain" not in answers["on"][name].info


def test_objects_of_both_kinds_in_one_call_get_what_each_gets_alone(place, tmp_path):
    from glesam.prompts import Prompts

    _, base = place
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        gate = fixed(GainGate.of(base.encode(base.prepare(image)[0])), (0.1, -0.1))
    predictor = Predictor(base, "auto", Restoration(gate=gate, rules=[LevelRule(0, image_size=32)]))
    predictor.set_image(image)
    apart = predictor.predict(points=[[20, 20]]), predictor.predict(boxes=[5, 5, 40, 40])
    both = predictor.predict(Prompts(points=[[[20, 20]], []], boxes=[None, [5, 5, 40, 40]]))
    for index, alone in enumerate(apart):
        assert np.array_equal(both.masks[index], alone.masks[0])


def test_pixels_go_to_the_device_of_the_maps():
    """The predictor keeps pixels on the CPU; torch's meta device, which mixes with no other, stands for a GPU."""
    maps, pixels = embedding(), torch.rand(1, 3, 64, 48)
    gate = GainGate.of(maps)
    found = gate.to("meta").features(maps.map(lambda m: m.to("meta")), pixels)
    assert (found.device.type, found.shape) == ("meta", gate_features(maps, pixels).shape)
