"""The authors' module names and what their decoders compute, from the papers (arXiv 2304.02643, 2408.00714).

Only for tests: state dicts of these modules have the key names of the released files.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        x = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class MLP(nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MLPBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(x)))


class Attention(nn.Module):
    def __init__(self, width: int, rate: int) -> None:
        super().__init__()
        inner = width // rate
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = (p(x).unflatten(-1, (8, -1)).transpose(1, 2) for p, x in ((self.q_proj, q), (self.k_proj, k)))
        query, key = heads
        value = self.v_proj(v).unflatten(-1, (8, -1)).transpose(1, 2)
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    def __init__(self, width: int, hidden: int, first: bool, sam2: bool, eps: float) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, 1)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width, eps=eps) for _ in range(4))
        self.cross_attn_token_to_image, self.cross_attn_image_to_token = Attention(width, 2), Attention(width, 2)
        self.mlp = MLP(width, hidden, width) if sam2 else MLPBlock(width, hidden)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            q = tokens + token_pe
            tokens = self.norm1(tokens + self.self_attn(q, q, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    def __init__(self, width: int, hidden: int, sam2: bool, eps: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, hidden, i == 0, sam2, eps) for i in range(2))
        self.final_attn_token_to_image = Attention(width, 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, image_pe: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        tokens, keys, pe = prompts, image.flatten(2).transpose(1, 2), image_pe.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens, keys = layer(tokens, keys, prompts, pe)
        tokens = tokens + self.final_attn_token_to_image(tokens + prompts, keys + pe, keys)
        return self.norm_final_attn(tokens), keys


class MaskDecoder(nn.Module):
    def __init__(self, width: int, hidden: int, iou_hidden: int, sam2: bool, eps: float) -> None:
        super().__init__()
        self.sam2 = sam2
        self.transformer = TwoWayTransformer(width, hidden, sam2, eps)
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(4, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, width, width // 8) for _ in range(4))
        self.iou_prediction_head = MLP(width, iou_hidden, iou_hidden, 4)
        if sam2:
            self.obj_score_token = nn.Embedding(1, width)
            self.conv_s0, self.conv_s1 = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width, width // 4, 1)
            self.pred_obj_score_head = MLP(width, width, width, 1)

    def forward(
        self, image: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, skips: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """All four masks `(n, 4, 4h, 4w)` and IoU `(n, 4)` of n prompts on one image."""
        own = [self.obj_score_token.weight] if self.sam2 else []
        own = torch.cat([*own, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        tokens, keys = self.transformer(image + dense, image_pe.expand(len(sparse), -1, -1, -1), tokens)
        image = keys.transpose(1, 2).unflatten(2, image.shape[-2:])
        if skips:
            up1, norm, act1, up2, act2 = self.output_upscaling
            upscaled = act2(up2(act1(norm(up1(image) + skips[1]))) + skips[0])
        else:
            upscaled = self.output_upscaling(image)
        start = 2 if self.sam2 else 1
        weights = torch.stack([mlp(tokens[:, start + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        iou = self.iou_prediction_head(tokens[:, start - 1])
        return torch.einsum("ntc,nchw->nthw", weights, upscaled), iou.sigmoid() if self.sam2 else iou


class PositionEmbedding(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, unit: Tensor) -> Tensor:
        angles = 2 * math.pi * (2 * unit - 1) @ self.positional_encoding_gaussian_matrix
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    def __init__(self, width: int, side: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.side = side
        self.pe_layer = PositionEmbedding(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, width), nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, 2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, 2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, 1),
        )

    def token(self, x: float, y: float, label: int) -> Tensor:
        """One token: label -1 padding, 0 background, 1 foreground, 2 and 3 the corners of a box."""
        if label == -1:
            return self.not_a_point_embed.weight[0]
        unit = torch.tensor([x + 0.5, y + 0.5]) / self.side
        return self.pe_layer(unit) + self.point_embeddings[label].weight[0]

    def grid(self, size: int) -> Tensor:
        centres = (torch.arange(size) + 0.5) / size
        return self.pe_layer(torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)).permute(2, 0, 1)[None]


class _Attn(nn.Module):
    def __init__(self, width: int, out: int, rel_pos: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * out), nn.Linear(out, out)
        if rel_pos:
            self.rel_pos_h, self.rel_pos_w = nn.Parameter(torch.zeros(rel_pos)), nn.Parameter(torch.zeros(rel_pos))


class _Block(nn.Module):
    def __init__(self, width: int, out: int, mlp: nn.Module, rel_pos: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(out)
        self.attn, self.mlp = _Attn(width, out, rel_pos), mlp
        if width != out:
            self.proj = nn.Linear(width, out)


class _Patches(nn.Module):
    def __init__(self, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel, stride)


class ImageEncoderViT(nn.Module):
    def __init__(self, vision: Any) -> None:
        super().__init__()
        width, out, grid = vision.hidden_size, vision.output_channels, vision.image_size // vision.patch_size
        self.patch_embed = _Patches(width, vision.patch_size, vision.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList()
        for i in range(vision.num_hidden_layers):
            side = grid if i in vision.global_attn_indexes else vision.window_size
            rel_pos = (2 * side - 1, width // vision.num_attention_heads)
            self.blocks.append(_Block(width, width, MLPBlock(width, vision.mlp_dim), rel_pos))
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )


class OriginalSam(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        prompt, decoder = config.prompt_encoder_config, config.mask_decoder_config
        self.image_encoder = ImageEncoderViT(config.vision_config)
        self.prompt_encoder = PromptEncoder(prompt.hidden_size, prompt.image_size, prompt.mask_input_channels)
        self.mask_decoder = MaskDecoder(decoder.hidden_size, decoder.mlp_dim, decoder.iou_head_hidden_dim, False, 1e-5)
        self.register_buffer("pixel_mean", torch.zeros(3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(3, 1, 1))


class Hiera(nn.Module):
    def __init__(self, backbone: Any) -> None:
        super().__init__()
        width = backbone.hidden_size
        window, background = backbone.window_size_per_stage[0], backbone.window_positional_embedding_background_size
        self.patch_embed = _Patches(width, 7, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, *background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, window, window))
        self.blocks = nn.ModuleList()
        for count, out in zip(backbone.blocks_per_stage, backbone.embed_dim_per_stage, strict=True):
            for _ in range(count):
                self.blocks.append(_Block(width, out, MLP(out, 4 * out, out)))
                width = out


class _ImageEncoder(nn.Module):
    def __init__(self, vision: Any) -> None:
        super().__init__()
        self.trunk, self.neck = Hiera(vision.backbone_config), nn.Module()
        convs = []
        for channels in vision.backbone_channel_list:
            convs.append(nn.Sequential())
            convs[-1].add_module("conv", nn.Conv2d(channels, vision.fpn_hidden_size, 1))
        self.neck.convs = nn.ModuleList(convs)


class OriginalSam2(nn.Module):
    """Also has some of the memory of the video model, under its released names."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        prompt, decoder = config.prompt_encoder_config, config.mask_decoder_config
        width = prompt.hidden_size
        self.image_encoder = _ImageEncoder(config.vision_config)
        self.sam_prompt_encoder = PromptEncoder(width, prompt.image_size, prompt.mask_input_channels)
        self.sam_mask_decoder = MaskDecoder(width, decoder.mlp_dim, decoder.iou_head_hidden_dim, True, 1e-5)
        self.no_mem_embed, self.no_mem_pos_enc = (nn.Parameter(torch.zeros(1, 1, width)) for _ in range(2))
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(7, 1, 1, 8))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, width))
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, 8))
        self.mask_downsample = nn.Conv2d(1, 1, 4, 4)
        self.obj_ptr_proj, self.obj_ptr_tpos_proj = MLP(width, width, width), nn.Linear(width, 8)
        self.memory_attention, self.memory_encoder = nn.Module(), nn.Module()
        self.memory_attention.norm, self.memory_encoder.out_proj = nn.LayerNorm(width), nn.Conv2d(width, 8, 1)
