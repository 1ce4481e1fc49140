"""What a mask head is, how it hangs on a model, and how it is saved.

A head answers prompts in place of a model's own mask decoder, or on top of it. It never changes the model: a
`HeadedModel` is a promptable model like any other, so that whatever takes a model takes one with a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from glesam.errors import ConfigError, ModelError
from glesam.models.base import Embedding, MaskOutput, PromptableModel, PromptTensors
from glesam.weights.folders import read_config, save_module, state_digest

if TYPE_CHECKING:
    pass

FAMILY_PREFIX = "head-"
"""`family` of a saved head's `config.json` is this and its kind."""


class MaskHead(nn.Module, ABC):
    """Turns an embedding and prompts into masks and scores, beside a model that stays as it is.

    A saved head is a folder with `config.json` (family `head-KIND`, the options that build it, and the base model that
    it was made for) and `model.safetensors`.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def early_channels(self) -> int | None:
        """Channels of the early feature that the head reads from the embedding; None where it reads none."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What builds an equal head with other weights; stored in `config.json`."""

    def fuse(self, embedding: Embedding) -> Tensor | None:
        """What the head makes of images alone, before any prompt: `(B, ...)`, kept for all prompts; None for nothing.

        Args:
            embedding: of B images, with the early feature where `early_channels` is set.
        """
        return None

    def start_from(self, decoder: nn.Module) -> None:
        """Set a new head's weights so that training starts well; nothing by default.

        Args:
            decoder: the mask decoder of the model that it is for.
        """

    def set_mode(self, mode: str) -> None:
        """Choose one of the ways in which the head answers.

        Raises:
            ConfigError: it has no such way.
        """
        raise ConfigError(f"expected no mode for the {self.kind} head, which has one way to answer, got {mode!r}")

    @abstractmethod
    def decode(
        self,
        model: PromptableModel,
        embedding: Embedding,
        prompts: PromptTensors,
        fused: Tensor | None,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer prompts; see `PromptableModel.decode`.

        Args:
            model: the model that the head hangs on.
            embedding: of B images, or of one that all prompts share.
            prompts: `(B, N)` prompts in pixels of the model's square.
            fused: what `fuse` made of the same embedding.
            multimask: three candidates each instead of one mask.
        """

    def save_pretrained(self, folder: str | Path, base: PromptableModel) -> None:
        """Write the head into a folder.

        Args:
            folder: made if it is not there.
            base: the model that it was made for; its family and the digest of its weights are kept with the head.
        """
        made_for = {"family": base.family, "sha256": state_digest(base)}
        save_module(folder, self, FAMILY_PREFIX + self.kind, {"options": self.options, "base": made_for})


def saved_kind(folder: str | Path) -> str:
    """The kind of a saved head.

    Raises:
        ModelError: no saved head in the folder.
    """
    family = str(read_config(folder).get("family"))
    if not family.startswith(FAMILY_PREFIX):
        raise ModelError(
            f"expected a saved head in {folder}, got family {family!r}; train one with `glesam train head`"
        )
    return family.removeprefix(FAMILY_PREFIX)
