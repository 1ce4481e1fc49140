"""A toy of each kind, registered from outside the package, is loaded and used as if it were one of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from models_tiny import sam_tiny
from tables import copy_tables
from torch import nn

from glesam import Predictor, load_model
from glesam.degrade.draws import Draws
from glesam.degrade.kind import Degrader, Kind, table
from glesam.enhance import registry as enhancers
from glesam.enhance.registry import load_enhancer
from glesam.errors import ConfigError, ModelError
from glesam.everything import labels
from glesam.heads import kinds as heads
from glesam.heads.base import MaskHead
from glesam.heads.headed import HeadedModel
from glesam.masks import Masks
from glesam.models import registry as families
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.models.sam import SamPromptable
from glesam.restore import registry as restorers
from glesam.restore.base import Restorer

SIDE = 16


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    copy_tables(monkeypatch)


class ToyModel(PromptableModel):
    """Masks are what is brighter than the point is; all in the latent's own cells."""

    family: ClassVar[str] = "toy"
    image_size = SIDE

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def preprocess(self, image: Any) -> tuple[torch.Tensor, ImageGeometry]:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        return pixels, ImageGeometry((SIDE, SIDE), (SIDE, SIDE), SIDE)

    def encode(self, pixel_values: torch.Tensor) -> Embedding:
        return Embedding(pixel_values.mean(dim=1, keepdim=True)[..., ::4, ::4])

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        count = 3 if multimask else 1
        logits = (embedding.latent - 127).unsqueeze(1).expand(-1, prompts.shape[1], count, -1, -1)
        return MaskOutput(logits, torch.full(logits.shape[:3], 0.5))

    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "config.json").write_text(json.dumps({"family": self.family}))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ToyModel:
        return cls()


class ToyEnhancer(nn.Module):
    """Turns the latent's signs."""

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return -latent

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ToyEnhancer:
        return cls()


class ToyHead(MaskHead):
    """Says the contrary of its model."""

    kind: ClassVar[str] = "toy"
    early_channels = None

    def __init__(self, width: int, early: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.factor = nn.Parameter(-torch.ones(1))

    @property
    def options(self) -> dict[str, Any]:
        return {"width": self.width}

    def decode(
        self,
        model: PromptableModel,
        embedding: Embedding,
        prompts: PromptTensors,
        fused: torch.Tensor | None,
        multimask: bool = False,
    ) -> MaskOutput:
        plain = model.decode(embedding, prompts, multimask)
        return MaskOutput(plain.low_res_logits * self.factor, plain.iou)


def toy_labeler(argument: str) -> Any:
    return lambda image, masks: [[(argument, 0.5)] for _ in range(len(masks))]


class Negative(Restorer):
    """The image's negative."""

    def apply(self, image: Any, name: str | None) -> Any:
        return 255 - image


def half(value: int = 255) -> np.ndarray:
    """Black on the left, bright on the right."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, SIDE // 2 :] = value
    return image


def test_a_family(tmp_path: Path) -> None:
    families.register_family("toy", __name__, "ToyModel")
    assert __name__ in sys.modules
    ToyModel().save_pretrained(tmp_path)
    assert isinstance(load_model(str(tmp_path)), ToyModel)
    predictor = Predictor.from_pretrained(str(tmp_path), refine="off")
    predictor.set_image(half())
    mask = predictor.predict(points=[[12, 8]]).masks[0]
    assert mask[:, SIDE // 2 + 2 :].all()
    assert not mask[:, : SIDE // 2 - 2].any()
    with pytest.raises(ModelError, match="'toy', which is taken"):
        families.register_family("toy", __name__, "ToyModel")


def test_an_enhancer(tmp_path: Path) -> None:
    enhancers.register("toy-enhancer", ToyEnhancer)
    (tmp_path / "config.json").write_text('{"family": "toy-enhancer"}')
    enhancer = load_enhancer(tmp_path)
    assert torch.equal(enhancer(torch.ones(1, 1, 2, 2)), -torch.ones(1, 1, 2, 2))
    model = SamPromptable(sam_tiny())
    predictor = Predictor(model, "on", enhancer)
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    answer = predictor.predict(points=[[9, 9]])
    assert answer.info["enhanced"] is True
    with pytest.raises(ModelError, match="which is taken"):
        enhancers.register("residual-enhancer", ToyEnhancer)


def test_a_restorer() -> None:
    restorers.register(restorers.RestorerKind("negative", "the negative", lambda argument: Negative("negative")))
    restorer = restorers.load_restorer("negative")
    assert restorer is not None
    predictor = Predictor(ToyModel(), restorer=restorer, refine="off")
    predictor.set_image(half())
    mask = predictor.predict(points=[[2, 8]]).masks[0]
    assert mask[:, : SIDE // 2 - 2].all()
    with pytest.raises(ConfigError, match="which is taken"):
        restorers.register(restorers.RestorerKind("median", "another", lambda argument: Negative("median")))


def test_a_degradation() -> None:
    """A table of kinds is a plain mapping, so that another package brings its own beside glesam's."""

    def dim(image: Any, draws: Draws, share: float) -> Any:
        return (image * share).astype(np.uint8)

    degrade = Degrader(table(Kind("dim", dim, {"share": (0.9, 0.8, 0.7, 0.6, 0.5)}, "own: a darker lamp")))
    record: dict[str, Any] = {}
    assert np.array_equal(degrade(half(200), "dim", 5, seed=0, record=record), half(100))
    assert record == {"kind": "dim", "severity": 5, "share": 0.5}


def test_a_head(tmp_path: Path) -> None:
    heads.KINDS["toy"] = heads.HeadKind(__name__, "ToyHead", "says the contrary")
    base = SamPromptable(sam_tiny())
    heads.new_head("toy", base).save_pretrained(tmp_path, base)
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    logits = []
    for model in (base, HeadedModel(base, heads.load_head(tmp_path, base))):
        predictor = Predictor(model)
        predictor.set_image(image)
        logits.append(predictor.predict(points=[[9, 9]]).logits)
    np.testing.assert_allclose(logits[1], -logits[0], rtol=1e-5, atol=1e-6)


def test_a_labeler() -> None:
    labels.LABELERS["toy"] = f"{__name__}:toy_labeler"
    masks = Masks(np.ones((2, 4, 4), bool), np.ones(2, np.float32))
    named = labels.label(np.zeros((4, 4, 3), np.uint8), masks, labels.load_labeler("toy:thing"))
    assert named.class_names == ("thing", "thing")
