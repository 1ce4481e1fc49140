"""A model with a head on it: a promptable model like any other."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from glesam.common.files import write_text
from glesam.errors import ModelError
from glesam.heads.base import MaskHead
from glesam.heads.kinds import load_head
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, Part, PromptableModel, PromptTensors
from glesam.models.registry import load_model
from glesam.weights.folders import CONFIG_FILE

if TYPE_CHECKING:
    from typing import Self


class HeadedModel(PromptableModel):
    """A model that answers through a head.

    Args:
        base: the model; it is not changed.
        head: made for it.

    Raises:
        ModelError: the model has no such early feature as the head reads.
    """

    family: ClassVar[str] = "headed"

    def __init__(self, base: PromptableModel, head: MaskHead) -> None:
        super().__init__()
        wanted, given = head.early_channels, base.early_channels
        if wanted is not None and wanted != given:
            raise ModelError(
                f"expected a model with an early feature of {wanted} channels for this {head.kind} head, got "
                f"{base.family} with {given or 'none'}; use the model that the head was made for"
            )
        self.base, self.head = base, head
        self.image_size, self.side_step, self.cuts_boxes = base.image_size, base.side_step, base.cuts_boxes
        self.answers_again = base.answers_again
        self._fused: tuple[weakref.ref[Tensor], object, Tensor | None] | None = None
        self.eval()

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start without what is kept of images."""
        return {**self.__dict__, "_fused": None}

    def over(self, base: PromptableModel) -> HeadedModel:
        """The same head on another version of the model, such as one with a tuned decoder."""
        return HeadedModel(base, self.head)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.base.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the base model."""
        return self.base.dtype

    @property
    def head_kind(self) -> str:
        """Kind of the head."""
        return self.head.kind

    @property
    def early_channels(self) -> int | None:
        """Those of the base model."""
        return self.base.early_channels

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """As the base model."""
        return self.base.preprocess(image)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """As the base model, with the early feature where the head reads it."""
        if self.head.early_channels is None:
            return self.base.encode(pixel_values)
        return self.base.encode_early(pixel_values)

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """Answer through the head; see `PromptableModel.decode`.

        Raises:
            ModelError: an embedding without the early feature that the head reads.
            PromptError: prompts that do not fit together, or do not fit the embedding.
        """
        if self.head.early_channels is not None and embedding.early is None:
            raise ModelError(
                f"expected an embedding with its early feature for the {self.head.kind} head, got one without; encode "
                "the image with the model that carries the head"
            )
        return self.head.decode(self.base, embedding, prompts, self._fuse(embedding), multimask)

    def _fuse(self, embedding: Embedding) -> Tensor | None:
        """What the head makes of the images; that of the last embedding is kept while the head stays as it is."""
        if torch.is_grad_enabled():
            return self.head.fuse(embedding)
        state = (
            id(embedding.early),
            tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.head.parameters()),
        )
        kept = self._fused  # threads may share a model: read once, replaced as a whole
        if kept is not None and kept[0]() is embedding.latent and kept[1] == state:
            return kept[2]
        fused = self.head.fuse(embedding)
        self._fused = weakref.ref(embedding.latent), state, fused
        return fused

    def parts(self) -> Mapping[Part, nn.Module]:
        """Those of the base model."""
        return self.base.parts()

    def decoder_aides(self) -> Mapping[str, nn.Module]:
        """Those of the base model."""
        return self.base.decoder_aides()

    def pixels_of(self, crops: npt.NDArray[np.uint8]) -> Tensor:
        """As the base model."""
        return self.base.pixels_of(crops)

    def place(self, device: str | torch.device, dtype: torch.dtype) -> Self:
        """Move base model and head to a device and floating type."""
        self.base.place(device, dtype)
        self.head.to(device=device, dtype=dtype)
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the base model into `base` and the head into `head` of a folder, whose `config.json` says so."""
        self.base.save_pretrained(Path(folder) / "base")
        # The head names the base by its weights as `from_pretrained` loads them, in float32.
        exact = self.base.dtype is torch.float32
        self.head.save_pretrained(Path(folder) / "head", self.base if exact else load_model(Path(folder) / "base"))
        write_text(Path(folder) / CONFIG_FILE, json.dumps({"family": self.family}) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load what `save_pretrained` wrote, in float32 on the CPU.

        Raises:
            ModelError: a part is missing or corrupt, or the head was made for another model.
        """
        base = load_model(Path(folder) / "base")
        return cls(base, load_head(Path(folder) / "head", base))
