"""Sizes of an ESC-Net."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from glesam.errors import ConfigError


@dataclass(frozen=True)
class SamShape:
    """Sizes of the prompt encoder and of the two-way attention; the defaults are those of all SAM and SAM 2 models.

    Attributes:
        hidden: width of tokens and cells.
        heads: of the attention.
        layers: two-way blocks.
        mlp: width of the blocks' feed-forward layers.
    """

    hidden: int = 256
    heads: int = 8
    layers: int = 2
    mlp: int = 2048


@dataclass(frozen=True)
class EscNetConfig:
    """Sizes of an ESC-Net; stored in `config.json`.

    Attributes:
        channels: width d of image and text features, which share a space.
        guides: widths of the finer image features that guide the decoder, coarse to fine; the paper has two.
        width: channels of a class's map between the blocks.
        blocks: ESC blocks.
        regions: point and region prompts of a class in each block.
        window: side of the Swin blocks' windows, in cells.
        heads: of Swin and class attention.
        decoder: channels after each step up of the decoder, one for each guide.
        sam: sizes of the SAM blocks; None leaves them out, which is the ablation without.
    """

    channels: int = 512
    guides: tuple[int, ...] = (768, 768)
    width: int = 128
    blocks: int = 4
    regions: int = 5
    window: int = 12
    heads: int = 4
    decoder: tuple[int, ...] = (64, 32)
    sam: SamShape | None = field(default_factory=SamShape)

    def __post_init__(self) -> None:
        if len(self.guides) != len(self.decoder):
            got = f"{len(self.guides)} and {len(self.decoder)}"
            raise ConfigError(f"expected as many guides as steps of the decoder, got {got}; give one width for each")
        if self.width % self.heads or self.window < 2 or min(self.blocks, self.regions) < 1:
            raise ConfigError(
                f"expected a width in multiples of heads, windows of at least 2 cells, blocks and regions, got {self}"
            )

    @property
    def options(self) -> dict[str, Any]:
        """As `config.json` holds it."""
        return asdict(self)

    @classmethod
    def of(cls, options: dict[str, Any]) -> EscNetConfig:
        """From what `options` gave."""
        sam = options.pop("sam")
        lists: dict[str, Any] = {key: tuple(options.pop(key)) for key in ("guides", "decoder")}
        return cls(**options, **lists, sam=None if sam is None else SamShape(**sam))
