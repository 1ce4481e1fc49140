"""Stage 2 goes on from what it made before, and of the encoder only the named layers learn."""

import json

import pytest
import torch
from safetensors.torch import load_file
from train_tiny import losses_of, photo_set, tiny_model

from glesam.enhance.residual import ResidualEnhancer
from glesam.errors import ConfigError
from glesam.models.tuned import image_encoder
from glesam.train.config import DecoderConfig
from glesam.train.feed.pack import pack
from glesam.train.stages.decoder import DecoderStage
from glesam.train.stages.trainable import saved_part

EARLY = ("backbone.stem.", "backbone.blocks.0.")
PARTS = ("decoder", "encoder", "enhancer", "skips")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with packed photos, a model and an enhancer."""
    root = tmp_path_factory.mktemp("place")
    ResidualEnhancer(256, 8, 1).save_pretrained(root / "enhancer")
    return root, [pack(photo_set(root / "photos"), root / "packs")], tiny_model(root / "model")


def stage(place, **changes):
    root, packs, model = place
    values = {"data": {"photos": 1.0}, "model": str(model), "enhancer": str(root / "enhancer"), "image_size": 64}
    values |= {"batch_size": 2, "steps": 2, "scale": (0.12, 0.14), "workers": 0, "warmup": 1, "ema": 0.5}
    values |= {"levels": {"lq1": 1.0}, "prompts": 1, "paste": 0.0, "lr": 2e-3, "encoder_lr": 1.0, "skips": "branch"}
    return DecoderStage(DecoderConfig(**{**values, **changes}), packs)


@pytest.fixture(scope="module")
def earlier(place, tmp_path_factory):
    """What a run saved that trained everything, of the encoder its first layers."""
    folder = tmp_path_factory.mktemp("earlier")
    losses_of(stage(place, train=("tokens", "encoder", "enhancer"), encoder_layers=EARLY), folder / "run")
    return folder / "run" / "model"


def weights(folder, part):
    return load_file(folder / part / "model.safetensors")


def test_of_the_encoder_the_named_layers_learn(place, earlier):
    encoder = image_encoder(stage(place).objective.model.base)
    before = encoder.state_dict()
    saved = weights(earlier, "encoder")
    assert set(saved) == {name for name, _ in encoder.named_parameters() if name.startswith(EARLY)}
    assert all(not torch.equal(value, before[name]) for name, value in saved.items() if name.endswith("weight"))
    learning = stage(place, train=("encoder",), encoder_layers=("neck.",)).objective.model
    assert {name for name, p in image_encoder(learning.base).named_parameters() if p.requires_grad} == {
        name for name in before if name.startswith("neck.")
    }


def test_a_later_run_starts_where_the_earlier_one_ended(place, earlier):
    model = stage(place, init=str(earlier), train=("skips",)).objective.model
    for part, module in (
        ("encoder", image_encoder(model.base)),
        ("decoder", model.base.mask_decoder),
        ("enhancer", model.enhancer),
        ("skips", model.skips),
    ):
        state = module.state_dict()
        for name, value in weights(earlier, part).items():
            assert torch.equal(state[name], value), (part, name)


def test_what_does_not_learn_any_more_is_saved_as_it_was(place, earlier, tmp_path):
    losses_of(stage(place, init=str(earlier), train=("skips",)), tmp_path / "run")
    later = tmp_path / "run" / "model"
    for part in ("decoder", "encoder", "enhancer"):
        one, two = weights(earlier, part), weights(later, part)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one), part
    one, two = weights(earlier, "skips"), weights(later, "skips")
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_what_learns_later_joins_what_learnt_before(place, earlier, tmp_path):
    made = stage(place, init=str(earlier), train=("encoder",), encoder_layers=("skip4.",))
    losses_of(made, tmp_path / "run")
    tensors = json.loads((tmp_path / "run" / "model" / "encoder" / "config.json").read_text())["tensors"]
    assert {name.split(".")[0] for name in tensors} == {"backbone", "skip4"}


def test_wrong_layers_and_wrong_folders_are_refused(place, tmp_path):
    with pytest.raises(ConfigError, match=r"'blocks'.*backbone"):
        stage(place, train=("encoder",), encoder_layers=("blocks",))
    with pytest.raises(ConfigError, match="none of it"):
        stage(place, init=str(tmp_path))
    assert saved_part(None, "decoder") is None


def test_a_part_that_was_not_saved_is_none(place, tmp_path):
    losses_of(stage(place, train=("tokens",), skips="raw"), tmp_path / "run")
    folder = str(tmp_path / "run" / "model")
    assert saved_part(folder, "decoder") is not None
    assert [saved_part(folder, part) for part in PARTS[1:]] == [None, None, None]
