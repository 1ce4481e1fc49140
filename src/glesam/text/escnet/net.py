"""The whole network: correlation, ESC blocks, decoder; classes part by part, so that memory is bounded."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.base import PromptableModel
from glesam.text.escnet.config import EscNetConfig
from glesam.text.escnet.decoder import UpDecoder
from glesam.text.escnet.fusion import ClassAttention, SwinBlock
from glesam.text.escnet.sam_block import SamBlock
from glesam.weights.folders import DIGEST_KEY, load_module, save_module, seal

ESCNET = "escnet"
"""`family` in `config.json`."""

_GUIDE, _TEXT = 64, 64
"""Channels that image and texts have beside the maps."""

_EMBED = 7
"""Side of the first convolution of a correlation map, as in CAT-Seg."""


class EscBlock(nn.Module):
    """Prompts, SAM's attention, and fusion; then a map of each class for the next block's prompts.

    Args:
        config: sizes.
    """

    def __init__(self, config: EscNetConfig) -> None:
        super().__init__()
        width, window = config.width, config.window
        self.sam = None if config.sam is None else SamBlock(config.sam, config.channels, width, config.regions)
        self.join = nn.Linear(width * (1 if config.sam is None else 2), width)
        self.guide = nn.Conv2d(config.channels, _GUIDE, 1)
        shifts = (0, window // 2)
        self.swin = nn.ModuleList(SwinBlock(width, _GUIDE, window, config.heads, shift) for shift in shifts)
        self.text = nn.Linear(config.channels, _TEXT)
        self.classes = ClassAttention(width, _TEXT, config.heads)
        self.read = nn.Linear(width, 1)

    def within(self, image: Tensor, state: Tensor, maps: Tensor) -> Tensor:
        """What is done for each class alone: `(B, K, h, w, c)` from the same and maps `(B, K, h, w)`."""
        batch, classes = maps.shape[:2]
        if self.sam is not None:
            state = torch.cat([state, self.sam(image, maps).movedim(2, -1)], dim=-1)
        guide = self.guide(image).movedim(1, -1).repeat_interleave(classes, dim=0)
        flat = cast(Tensor, self.join(state)).flatten(0, 1)
        for block in self.swin:
            flat = block(flat, guide)
        return flat.view(batch, classes, *flat.shape[1:])

    def forward(
        self, image: Tensor, texts: Tensor, parts: list[Tensor], maps: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """New state and maps of all parts of the classes.

        Args:
            image: `(B, d, h, w)`.
            texts: `(K, d)` of all classes.
            parts: `(B, k, h, w, c)` of each part.
            maps: `(B, k, h, w)` of each part.
        """
        parts = [self.within(image, part, each) for part, each in zip(parts, maps, strict=True)]
        beside = torch.split(self.text(texts), [part.shape[1] for part in parts])
        sums = [self.classes.sums(part, text) for part, text in zip(parts, beside, strict=True)]
        total = (sum(s[0] for s in sums), sum(s[1] for s in sums))
        parts = [self.classes(part, text, total) for part, text in zip(parts, beside, strict=True)]
        return parts, [self.read(part)[..., 0] for part in parts]


class EscNet(nn.Module):
    """Maps of any number of classes from image and text features.

    Args:
        config: sizes.
    """

    def __init__(self, config: EscNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv2d(1, config.width, _EMBED, padding=_EMBED // 2)
        self.blocks = nn.ModuleList(EscBlock(config) for _ in range(config.blocks))
        self.decoder = UpDecoder(config.width, config.guides, config.decoder)

    def forward(
        self, image: Tensor, texts: Tensor, guides: tuple[Tensor, ...], chunk: int | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of each class, independent of each other: sigmoid, not softmax.

        Args:
            image: `(B, d, h, w)` dense features.
            texts: `(K, d)` features of the classes' names, in the same space.
            guides: `(B, g, any, any)` finer features for each step of the decoder, coarse to fine.
            chunk: classes at once; all of them when not given. The result is the same but for rounding.

        Returns:
            `(B, K, 4h, 4w)` logits with two steps of the decoder, and the blocks' own maps, `(B, K, h, w)` each, which
            learn beside the logits so that there are prompts for the next block.
        """
        correlation = torch.einsum("bdyx,kd->bkyx", F.normalize(image, dim=1), F.normalize(texts, dim=1))
        maps = list(torch.split(correlation, chunk or len(texts), dim=1))
        parts = [self.embed(m.flatten(0, 1)[:, None]).unflatten(0, m.shape[:2]).movedim(2, -1) for m in maps]
        read = []
        for block in self.blocks:
            parts, maps = block(image, texts, parts, maps)
            read.append(torch.cat(maps, dim=1))
        logits = [self.decoder(part.movedim(-1, 2), guides) for part in parts]
        return torch.cat(logits, dim=1), read

    def take_sam(self, model: PromptableModel) -> None:
        """Take the SAM blocks' attention and prompt encoders from a model of the SAM family.

        Raises:
            ModelError: it has none of these sizes.
        """
        for block in self.blocks:
            sam = cast(EscBlock, block).sam
            if sam is not None:
                sam.take(model)

    def sam_parameters(self) -> list[nn.Parameter]:
        """What came from SAM, which learns more slowly."""
        found: list[nn.Parameter] = []
        for block in self.blocks:
            sam = cast(EscBlock, block).sam
            if sam is not None:
                found += [*sam.prompt_encoder.parameters(), *sam.transformer.parameters()]
        return found

    def save_pretrained(self, folder: str | Path, text_model: str) -> None:
        """Write the network, and the folder of the text model whose features it reads."""
        save_module(folder, self, ESCNET, {"text_model": text_model, **self.config.options})
        seal(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> EscNet:
        """Load a saved network for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """

        def build(options: dict[str, object]) -> EscNet:
            for key in ("text_model", DIGEST_KEY):
                options.pop(key, None)
            return cls(EscNetConfig.of(options))

        return load_module(folder, ESCNET, build)
