"""The enhancers that ship under a name: what is in them, and that a name finds them everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam import Predictor
from glesam.enhance.bundle import load_bundle, read_rules
from glesam.enhance.folding import FoldedEnhancer
from glesam.enhance.pipeline import Restoration
from glesam.errors import ModelError
from glesam.evaluate.measure.model_specs import fingerprint, parse_model
from glesam.models.registry import COMPACT_FOLDER, ENHANCERS, bundled_enhancer, load_model, named_enhancer

RULES = Path(__file__).parents[2] / "configs" / "compact-rules.json"
COFFEE = Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg"
MOST_BYTES = 50_000_000


@pytest.fixture(scope="module")
def paper() -> Predictor:
    return Predictor.from_pretrained("compact", enhance="on", enhancer="gle")


def test_the_papers_set_up_is_a_denoising_step_behind_the_frozen_encoder(paper: Predictor) -> None:
    restoration = paper.enhancer
    assert isinstance(restoration, Restoration)
    assert isinstance(restoration.enhancer, FoldedEnhancer)
    assert restoration.encoder is None
    assert restoration.decoder is not None
    assert restoration.gate is not None
    default = Predictor.from_pretrained("compact").enhancer
    assert isinstance(default, Restoration)
    assert default.enhancer is None
    assert default.encoder is not None


def test_it_answers_a_degraded_image_otherwise_than_the_base_model_and_a_clear_one_alike(paper: Predictor) -> None:
    clear = np.asarray(Image.open(COFFEE).convert("RGB").resize((300, 200)))
    noise = np.random.default_rng(0).normal(0, 70, clear.shape)
    noisy = (clear + noise).clip(0, 255).astype(np.uint8)
    answers = {}
    for mode in ("off", "auto", "on"):
        paper.enhance = mode
        for name, image in (("clear", clear), ("noisy", noisy)):
            paper.set_image(image)
            answers[mode, name] = paper.predict(boxes=[[37, 7, 242, 195]]).logits
    np.testing.assert_array_equal(answers["auto", "clear"], answers["off", "clear"])
    assert np.abs(answers["on", "noisy"] - answers["off", "noisy"]).max() > 0.1
    np.testing.assert_array_equal(answers["auto", "noisy"], answers["on", "noisy"])


def test_the_bundled_enhancer_has_the_rules_that_its_card_names() -> None:
    """Put together from parts of an older one, it may come with that one's rules, and nothing else would say so."""
    assert load_bundle(ENHANCERS["compact"], load_model("compact")).rules == read_rules(RULES)


def test_names_are_found_by_evaluation_and_others_are_folders() -> None:
    assert named_enhancer("gle") == ENHANCERS["gle"]
    assert bundled_enhancer("gle") is None
    assert named_enhancer("sam-vit-b") is None
    keys = {fingerprint(parse_model(text)) for text in ("compact", "compact+gle", "compact@enhance=off")}
    assert len(keys) == 3
    assert fingerprint(parse_model("compact+gle")) == fingerprint(parse_model(f"compact+{ENHANCERS['gle']}"))
    with pytest.raises(ModelError, match="nonsense"):
        Predictor.from_pretrained("compact", enhancer="nonsense")


def test_all_that_ships_is_small() -> None:
    assert sum(file.stat().st_size for file in COMPACT_FOLDER.parent.rglob("*.safetensors")) <= MOST_BYTES
