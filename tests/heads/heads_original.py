"""What the authors' HQ-SAM and RobustSAM decoders compute, written anew from papers and key names, one prompt a time.

Only for tests. Held once against tensors that the authors' code computed (dim 64, random weights): HQ masks within
4e-7, robust masks within 7e-7.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from models_original import MLP, LayerNorm2d, MaskDecoder, OriginalSam, OriginalSam2
from models_tiny import randomise, sam2_tiny_config, sam_tiny_config


def _grow(channels: int, hidden: int, out: int) -> nn.Sequential:
    first, last = nn.ConvTranspose2d(channels, hidden, 2, 2), nn.ConvTranspose2d(hidden, out, 2, 2)
    return nn.Sequential(first, LayerNorm2d(hidden), nn.GELU(), last)


def _refine(channels: int) -> nn.Sequential:
    first, last = nn.Conv2d(channels, 2 * channels, 3, 1, 1), nn.Conv2d(2 * channels, channels, 3, 1, 1)
    return nn.Sequential(first, LayerNorm2d(2 * channels), nn.GELU(), last)


class HQDecoder(MaskDecoder):
    """`forward` gives SAM's four masks, the HQ mask and four IoU of one prompt."""

    def __init__(self, width: int, hidden: int, iou_hidden: int, sam2: bool, eps: float, early: int | None) -> None:
        super().__init__(width, hidden, iou_hidden, sam2, eps)
        self.hf_token, self.hf_mlp = nn.Embedding(1, width), MLP(width, width, width, width // 8)
        if early is not None:
            self.compress_vit_feat = _grow(early, width, width // 8)
            self.embedding_encoder = _grow(width, width // 4, width // 8)
        self.embedding_maskfeature = _refine(width // 8)

    def one(self, image, pe, sparse, dense, early, skips=()):
        own = [self.obj_score_token.weight] if self.sam2 else []
        own = torch.cat([*own, self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight])
        tokens, keys = self.transformer(image + dense, pe, torch.cat([own, sparse])[None])
        grown = upscaled(self, keys.transpose(1, 2).unflatten(2, image.shape[-2:]), skips)
        start = 2 if self.sam2 else 1
        masks = [
            (mlp(tokens[0, start + i])[:, None, None] * grown[0]).sum(0)
            for i, mlp in enumerate(self.output_hypernetworks_mlps)
        ]
        features = self.embedding_maskfeature(grown)
        if early is not None:
            features = features + self.embedding_encoder(image) + self.compress_vit_feat(early)
        hq = (self.hf_mlp(tokens[0, start + 4])[:, None, None] * features[0]).sum(0)
        iou = self.iou_prediction_head(tokens[0, start - 1])
        return torch.stack(masks), hq, iou.sigmoid() if self.sam2 else iou


def upscaled(decoder: MaskDecoder, image: Tensor, skips: tuple[Tensor, ...]) -> Tensor:
    if not skips:
        return decoder.output_upscaling(image)
    up1, norm, act1, up2, act2 = decoder.output_upscaling
    return act2(up2(act1(norm(up1(image) + skips[1]))) + skips[0])


class _Selective(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.selector, cells = nn.Module(), 16 * channels
        self.selector.fc = nn.Sequential(nn.Linear(cells, cells // 16, bias=False))
        self.selector.att_conv1, self.selector.att_conv2 = (nn.Linear(cells // 16, cells) for _ in range(2))
        self.BN = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        bn, size = self.BN, x.shape[-1]
        scaled = (x - bn.running_mean[:, None, None]) / (bn.running_var[:, None, None] + 1e-5).sqrt()
        first = scaled * bn.weight[:, None, None] + bn.bias[:, None, None]
        mean = x.mean((2, 3), keepdim=True)
        second = (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        first, second = (torch.where(y > 0, y, 0.01 * y) for y in (first, second))
        first, second = self.conv1(first), self.conv2(second)
        cells = (first + second).unflatten(3, (4, -1)).unflatten(2, (4, -1)).mean((3, 5))
        seen = self.selector.fc(cells.flatten(1)).clamp(min=0)
        a, b = (layer(seen).view_as(cells) for layer in (self.selector.att_conv1, self.selector.att_conv2))
        share = (a.exp() / (a.exp() + b.exp())).repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)
        return first * share + second * (1 - share)


class _Block(nn.Module):
    def __init__(self, channels: int, name: str, out: nn.Sequential) -> None:
        super().__init__()
        self.dnc_block_combined, self.fgm_block = nn.Module(), nn.Module()
        self.dnc_block_combined.channel_attention, self.dnc_block_combined.SEMBlock = nn.Module(), nn.Module()
        self.dnc_block_combined.channel_attention.excitation = nn.Sequential(
            nn.Linear(2 * channels, channels // 8), nn.ReLU(), nn.Linear(channels // 8, 2 * channels), nn.Sigmoid()
        )
        self.dnc_block_combined.SEMBlock.maxpool_conv = nn.Sequential(_Selective(channels))
        self.fgm_block.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.conv_layer = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.last = name
        setattr(self, name, out)

    def forward(self, x: Tensor, clear: bool) -> Tensor:
        if not clear:
            x = torch.cat([x, self.dnc_block_combined.SEMBlock.maxpool_conv(x)], 1)
            x = x * self.dnc_block_combined.channel_attention.excitation(x.mean((2, 3)))[..., None, None]
            spectrum = torch.fft.fft2(x)
            amplitude, phase = self.fgm_block.conv_layer(spectrum.abs()), spectrum.angle()
            x = torch.fft.ifft2(torch.complex(amplitude * phase.cos(), amplitude * phase.sin())).real
            x = self.conv_layer(x)
        return getattr(self, self.last)(x)


class RobustDecoder(MaskDecoder):
    """`forward` gives the four masks that have a score, their IoU, the robust feature and the tokens of one prompt."""

    def __init__(self, width: int, hidden: int, iou_hidden: int, sam2: bool, eps: float, early: int | None) -> None:
        super().__init__(width, hidden, iou_hidden, sam2, eps)
        self.custom_robust_token, self.robust_mlp = nn.Embedding(4, width), MLP(width, width, width, width // 8)
        self.fourier_mask_features = _Block(width // 8, "downsample_layer", _refine(width // 8))
        self.fourier_first_layer_features = _Block(early, "upsample_layer", _grow(early, width, width // 8))
        self.fourier_last_layer_features = _Block(width, "upsample_layer", _grow(width, width, width // 8))
        self.custom_token_block = nn.Module()
        self.custom_token_block.mlp = nn.Sequential(
            nn.Linear(width // 4, width // 4), nn.ReLU(), nn.Linear(width // 4, width)
        )

    def one(self, image, pe, sparse, dense, early, clear=False):
        own = [self.iou_token.weight, self.mask_tokens.weight if clear else self.custom_robust_token.weight]
        tokens, keys = self.transformer(image + dense, pe, torch.cat([*own, sparse])[None])
        grown = self.output_upscaling(keys.transpose(1, 2).unflatten(2, image.shape[-2:]))
        features = self.fourier_mask_features(grown, clear) + self.fourier_first_layer_features(early, clear)
        features = features + self.fourier_last_layer_features(image, clear)
        masks = []
        for i in range(4):
            token = tokens[0, 1 + i]
            if clear:
                weights, pixels = self.output_hypernetworks_mlps[i](token), grown
            else:
                for _ in range(2):
                    token = (token - token.mean()) / (token.var(unbiased=False) + 1e-5).sqrt()
                weights, pixels = self.robust_mlp(self.custom_token_block.mlp(token.view(4, -1)))[0], features
            masks.append((weights[:, None, None] * pixels[0]).sum(0))
        return torch.stack(masks), self.iou_prediction_head(tokens[0, 0]), features[0], tokens[0, 1:5]


def _sizes(config):
    decoder = config.mask_decoder_config
    return decoder.hidden_size, decoder.mlp_dim, decoder.iou_head_hidden_dim


def original_hq(seed: int = 0) -> OriginalSam:
    """A tiny SAM under the authors' names with the HQ head's decoder, all weights random."""
    config = sam_tiny_config()
    model = OriginalSam(config)
    model.mask_decoder = HQDecoder(*_sizes(config), False, 1e-5, config.vision_config.hidden_size)
    return randomise(model, seed)


def original_hq2(seed: int = 0) -> OriginalSam2:
    """A tiny SAM 2 under the authors' names with the decoder of HQ-SAM 2."""
    config = sam2_tiny_config()
    model = OriginalSam2(config)
    decoder = HQDecoder(*_sizes(config), True, 1e-5, None)
    model.sam_mask_decoder = decoder
    return randomise(model, seed)


def original_robust(seed: int = 0) -> OriginalSam:
    """A tiny SAM under the authors' names with RobustSAM's decoder."""
    config = sam_tiny_config()
    config.vision_config.hidden_size, config.vision_config.num_attention_heads = 48, 3
    model = OriginalSam(config)
    model.mask_decoder = RobustDecoder(*_sizes(config), False, 1e-5, 48)
    randomise(model, seed, 0.15)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_().add_(0.5)
    return model
