"""RobustSAM (Chen et al., CVPR 2024, arXiv 2406.09627): masks of degraded images closer to those of clean ones.

Robust output tokens take the place of SAM's mask tokens, and every map that masks are drawn from is cleaned of traces
of degradation first. Three things differ from the authors' code, which takes one prompt: any number of prompts, three
candidates instead of fifteen (those that belong to the three scores), and a teacher without gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.heads.base import MaskHead
from glesam.heads.decoding import add_per_image, attend, draw, own_masks, own_tokens, upscale
from glesam.heads.hq import growing, refining
from glesam.models.base import DecoderInputs, Embedding, MaskOutput, PromptableModel, PromptTensors
from glesam.models.layers import FeedForward
from glesam.models.tuned import mask_decoder

_REDUCTION = 16
_CELLS = 4  # the selector looks at the map in 4 x 4 parts


@dataclass(frozen=True)
class RobustAnswer:
    """All that a pass gives, for training.

    Attributes:
        logits: `(M, 4, 4h, 4w)`.
        iou: `(M, 4)`.
        features: `(M, C/8, 4h, 4w)`, the map that robust masks are drawn from.
        tokens: `(M, 4, C)`, the mask tokens as the transformer left them.
    """

    logits: Tensor
    iou: Tensor
    features: Tensor
    tokens: Tensor


class RobustHead(MaskHead):
    """The head of RobustSAM.

    Args:
        channels: C of the latent.
        early: channels of the early feature; None leaves its branch out, for encoders without one.
    """

    kind: ClassVar[str] = "robust"

    def __init__(self, channels: int = 256, early: int | None = None) -> None:
        super().__init__()
        self.channels, self.early = channels, early
        width = channels // 4
        self.tokens = nn.Embedding(4, channels)
        self.token_mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels))
        self.mlp = FeedForward(channels, channels, channels // 8, 3)
        self.first = None if early is None else CleanedMap(early, growing(early, channels, channels // 8))
        self.last = CleanedMap(channels, growing(channels, channels, channels // 8))
        self.pixels = CleanedMap(channels // 8, refining(channels // 8))

    @property
    def early_channels(self) -> int | None:
        """Channels of the early feature, or None."""
        return self.early

    @property
    def options(self) -> dict[str, Any]:
        """See `MaskHead.options`."""
        return {"channels": self.channels, "early": self.early}

    @torch.no_grad()
    def start_from(self, decoder: nn.Module) -> None:
        """Start the robust tokens as the decoder's own mask tokens."""
        self.tokens.weight.copy_(decoder.get_parameter("mask_tokens.weight"))

    def fuse(self, embedding: Embedding, clear: bool = False) -> Tensor:
        """Final and early feature of B images, cleaned, at the pixels' stride, and summed: `(B, C/8, 4h, 4w)`.

        Args:
            embedding: of B images.
            clear: as they are, without cleaning: what a clean image's maps are compared with.
        """
        dtype = self.tokens.weight.dtype
        fused: Tensor = self.last(embedding.latent.to(dtype), clear)
        if self.first is not None and embedding.early is not None:
            fused = fused + self.first(embedding.early.to(dtype), clear)
        return fused

    def decode(
        self,
        model: PromptableModel,
        embedding: Embedding,
        prompts: PromptTensors,
        fused: Tensor | None,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer prompts; see `MaskHead.decode`."""
        found = self.answer(mask_decoder(model), model.decoder_inputs(embedding, prompts), fused)
        masks = slice(1, 4) if multimask else slice(0, 1)
        return model.mask_output(found.logits[:, masks], found.iou[:, masks], prompts)

    def answer(self, decoder: Any, inputs: DecoderInputs, fused: Tensor | None, clear: bool = False) -> RobustAnswer:
        """All four masks of M prompts by one pass of a decoder of the SAM kind.

        Args:
            decoder: the model's mask decoder, which is only read.
            inputs: image and prompts.
            fused: what `fuse` made of F images, F dividing M, with the same `clear`.
            clear: SAM's own tokens and masks instead, with the maps uncleaned: the teacher's answer on a clean image.
        """
        own = own_tokens(decoder, inputs)
        first = len(own) - decoder.num_mask_tokens
        outputs = own if clear else torch.cat([own[:first], self.tokens.weight.to(own.dtype)])
        seen = attend(decoder, inputs, outputs)
        pixels = upscale(decoder, seen.image, inputs.skips)
        features = add_per_image(self.pixels(pixels, clear), fused)
        tokens = seen.tokens[:, first:]
        if clear:
            logits, iou = own_masks(decoder, inputs, seen.tokens, pixels)
        else:
            logits, iou = draw(self._weights(tokens), features), decoder.iou_prediction_head(seen.tokens[:, first - 1])
        return RobustAnswer(logits, iou, features, tokens)

    def _weights(self, tokens: Tensor) -> Tensor:
        """Weights of the masks, `(M, 4, C/8)`, from tokens `(M, 4, C)`.

        Each token is normalised twice over its channels. The authors cut it into four vectors; the answers of the first
        belong to the masks that have a score, those of the others to the twelve that have none.
        """
        normal = F.layer_norm(F.layer_norm(tokens, tokens.shape[-1:]), tokens.shape[-1:])
        weights: Tensor = self.mlp(self.token_mlp(normal[..., : self.channels // 4]))
        return weights


class CleanedMap(nn.Module):
    """Takes traces of degradation out of a map, then brings it to the pixels' size.

    Args:
        channels: of the map.
        out: layers that make pixels of it.
    """

    def __init__(self, channels: int, out: nn.Module) -> None:
        super().__init__()
        self.branches = TwoNorms(channels)
        self.excite = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels // _REDUCTION),
            nn.ReLU(),
            nn.Linear(2 * channels // _REDUCTION, 2 * channels),
            nn.Sigmoid(),
        )
        self.amplitude = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.out = out

    def forward(self, maps: Tensor, clear: bool = False) -> Tensor:
        """Clean `(B, C, h, w)` maps, or leave them uncleaned, and make pixels of them."""
        if not clear:
            both = torch.cat([maps, self.branches(maps)], dim=1)
            both = both * self.excite(both.mean(dim=(-2, -1)))[..., None, None]
            maps = self.merge(self._filter(both))
        pixels: Tensor = self.out(maps)
        return pixels

    def _filter(self, maps: Tensor) -> Tensor:
        """Change the amplitudes of a map's Fourier transform by a 1 x 1 convolution, and keep its phases."""
        spectrum = torch.fft.rfft2(maps.float())
        size = spectrum.abs()
        # The phase of nothing is that of a positive number, as in the authors' code; here its gradient is finite too.
        phase = torch.where(size > 0, spectrum / size.clamp(min=torch.finfo(size.dtype).tiny), 1)
        changed = self.amplitude(size.to(maps.dtype)).float() * phase
        filtered: Tensor = torch.fft.irfft2(changed, s=maps.shape[-2:])
        return filtered.to(maps.dtype)


class TwoNorms(nn.Module):
    """A map normalised over the batch and over itself, mixed place by place (the authors' de-normalisation block)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batch_norm = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        cells = channels * _CELLS**2
        self.squeeze = nn.Linear(cells, cells // _REDUCTION, bias=False)
        self.choice1, self.choice2 = nn.Linear(cells // _REDUCTION, cells), nn.Linear(cells // _REDUCTION, cells)

    def forward(self, maps: Tensor) -> Tensor:
        """Mix the two branches of `(B, C, h, w)` maps."""
        first = self.conv1(F.leaky_relu(self.batch_norm(maps)))
        second = self.conv2(F.leaky_relu(F.instance_norm(maps)))
        seen = F.relu(self.squeeze(F.adaptive_avg_pool2d(first + second, _CELLS).flatten(1)))
        scores = torch.stack([self.choice1(seen), self.choice2(seen)]).softmax(dim=0)
        shares = scores.view(2, len(maps), -1, _CELLS, _CELLS)
        share1, share2 = (F.interpolate(share, maps.shape[-2:], mode="nearest") for share in shares)
        mixed: Tensor = first * share1 + second * share2
        return mixed
