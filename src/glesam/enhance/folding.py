"""Folding: the enhancer for inference, with everything that never changes computed once.

Timestep and text are the same for every image. So the time embedding and its projections are constants, which move
into biases; the keys and values of cross-attention are constants, which stay as such or melt into the neighbouring
projections; LoRA is merged; queries, keys and values of self-attention come from one projection; the alignment scale
and equation 4's factors go into head and tail. What is left is a plain module that needs neither peft nor float64.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gle import LatentEnhancer, check_latent, pad_to_stride
from glesam.enhance.lora import adapted_layers, merge_lora
from glesam.errors import ModelError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

_KNOWN_LAYERS = {
    *("UNet2DConditionModel", "Timesteps", "GaussianFourierProjection", "TimestepEmbedding"),
    *("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    *("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", "ResnetBlock2D", "Downsample2D", "Upsample2D"),
    *("Transformer2DModel", "BasicTransformerBlock", "Attention", "FeedForward"),
    *("GEGLU", "GELU", "SwiGLU", "ApproximateGELU", "LinearActivation"),
}
_SETTINGS: dict[str, Any] = {
    "center_input_sample": False,
    "dual_cross_attention": False,
    "attention_type": "default",
    "only_cross_attention": False,
}


def fold(enhancer: LatentEnhancer, channels_last: bool = True, dtype: torch.dtype | None = None) -> FoldedEnhancer:
    """Make an inference module that equals the enhancer within 1e-4 in float32 and costs less.

    The result is a snapshot: it shares no memory with the enhancer, which is left unchanged.

    Args:
        enhancer: with or without adapters.
        channels_last: lay the weights out for pixels whose channels are neighbours in memory.
        dtype: type of the U-Net's arithmetic, such as bfloat16; None keeps its own. The latent's own share in the
            result (equation 4's first term) is computed in the latent's type in any case.

    Returns:
        The folded module, on the enhancer's device, for evaluation.

    Raises:
        ModelError: the U-Net holds a block whose folding is not known.
    """
    unet = copy.deepcopy(enhancer.unet)
    if adapted_layers(unet):
        merge_lora(unet)
    _check(unet)
    with torch.no_grad():
        folded = FoldedEnhancer(enhancer, _fold_unet(unet, enhancer))
    folded.requires_grad_(False).eval()
    folded.net.to(dtype=dtype or unet.dtype)
    if channels_last:
        folded.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return folded


class FoldedEnhancer(nn.Module):
    """`z_hat = keep * z + net(z)`: equation 4 with all constants folded into `net`. Inference only.

    Attributes:
        net: the folded U-Net.
        keep: factor of the latent itself: `1 / sqrt(alpha_bar)` for a noise prior.
        channels, stride, timestep, alignment_scale: as in the `LatentEnhancer` that was folded.
    """

    def __init__(self, enhancer: LatentEnhancer, net: FoldedUNet) -> None:
        super().__init__()
        self.net = net
        self.keep = _factors(enhancer)[0]
        self.channels, self.stride = enhancer.channels, enhancer.stride
        self.timestep, self.alignment_scale = enhancer.timestep, enhancer.alignment_scale

    @torch.no_grad()
    def forward(self, latent: Tensor) -> Tensor:
        """Enhance `(B, channels, h, w)` latents, any batch size, height and width; shape and type stay.

        Raises:
            ModelError: the shape is another one.
        """
        check_latent(latent, self.channels)
        padded = pad_to_stride(latent, self.stride)
        height, width = latent.shape[-2:]
        change: Tensor = self.net(padded.to(self.net.head.weight.dtype))
        return torch.add(change[..., :height, :width].to(latent.dtype), latent, alpha=self.keep)


class FoldedUNet(nn.Module):
    """The U-Net as a list of steps, without time and text: `(B, C, h, w)` to `(B, C, h, w)`."""

    def __init__(self, head: nn.Conv2d, down: list[nn.Module], mid: nn.Module, up: list[nn.Module], tail: nn.Module):
        super().__init__()
        self.head, self.down, self.mid = head, nn.ModuleList(down), mid
        self.up, self.tail = nn.ModuleList(up), tail

    def forward(self, sample: Tensor) -> Tensor:
        """Run the steps; each step down leaves a map that a `FoldedUp` step takes up again."""
        sample = self.head(sample)
        skips = [sample]
        for step in self.down:
            sample = step(sample)
            skips.append(sample)
        sample = self.mid(sample)
        for step in self.up:
            sample = step(torch.cat([sample, skips.pop()], dim=1)) if isinstance(step, FoldedUp) else step(sample)
        result: Tensor = self.tail(sample)
        return result


class FoldedUp(nn.Sequential):
    """A step of the way up that takes a skip connection."""


class FoldedResnet(nn.Module):
    """A residual block whose time shift lives in a bias."""

    def __init__(self, block: Any, emb: Tensor) -> None:
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.activation, self.shortcut = block.nonlinearity, block.conv_shortcut or nn.Identity()
        self.divisor = float(block.output_scale_factor)
        if block.time_emb_proj is not None:
            shift = block.time_emb_proj(emb if block.skip_time_act else block.nonlinearity(emb))[0]
            self._take_in(shift, block.time_embedding_norm)

    def _take_in(self, shift: Tensor, norm: str) -> None:
        """Move the time projection into the first convolution's bias, or into the second norm's affine map."""
        if norm == "default":
            self.conv1.bias.add_(shift)
            return
        scale, shift = shift.chunk(2)
        self.norm2.weight.mul_(1 + scale)
        self.norm2.bias.mul_(1 + scale).add_(shift)

    def forward(self, sample: Tensor) -> Tensor:
        """`(B, C, h, w)` to `(B, C', h, w)`."""
        hidden = self.conv1(self.activation(self.norm1(sample)))
        hidden = self.conv2(self.activation(self.norm2(hidden)))
        result: Tensor = self.shortcut(sample) + hidden
        return result if self.divisor == 1.0 else result / self.divisor


class FoldedTransformer(nn.Module):
    """Attention over the pixels of a map, as tokens `(B, h * w, C)`; no copy is made for channels-last maps."""

    def __init__(self, transformer: Any, text: Tensor) -> None:
        super().__init__()
        self.norm = transformer.norm
        self.proj_in, self.proj_out = _linear(transformer.proj_in), _linear(transformer.proj_out)
        self.blocks = nn.ModuleList(FoldedBlock(block, text) for block in transformer.transformer_blocks)

    def forward(self, sample: Tensor) -> Tensor:
        """`(B, C, h, w)` to `(B, C, h, w)`."""
        tokens = self.norm(sample).permute(0, 2, 3, 1)
        size = tokens.shape[:3]
        tokens = self.proj_in(tokens.flatten(1, 2))
        for block in self.blocks:
            tokens = block(tokens)
        change: Tensor = self.proj_out(tokens).unflatten(1, size[1:]).permute(0, 3, 1, 2)
        return sample + change


class FoldedBlock(nn.Module):
    """Self-attention, cross-attention to constant text, and a feed-forward net, each behind its norm."""

    def __init__(self, block: Any, text: Tensor) -> None:
        super().__init__()
        self.norm1, self.self_attention = block.norm1, FoldedSelfAttention(block.attn1)
        self.norm3, self.feed_forward = block.norm3, block.ff
        self.norm2: nn.Module | None = None
        self.cross_attention: nn.Module | None = None
        key, value = _keys_and_values(block.attn2, text)
        if key.shape[1] > 1:
            self.norm2, self.cross_attention = block.norm2, _fold_cross_attention(block.attn2, key, value)
        else:
            # One text token always has the whole attention: what it adds is a constant.
            self.self_attention.project_out.bias.add_(block.attn2.to_out[0](value.flatten()))

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        tokens = tokens + self.self_attention(self.norm1(tokens))
        if self.cross_attention is not None and self.norm2 is not None:
            tokens = tokens + self.cross_attention(self.norm2(tokens))
        result: Tensor = tokens + self.feed_forward(self.norm3(tokens))
        return result


class FoldedSelfAttention(nn.Module):
    """Multi-head self-attention with queries, keys and values from one projection."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        parts = [attention.to_q, attention.to_k, attention.to_v]
        biases = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
        self.project_in = _make_linear(torch.cat([part.weight for part in parts]), biases)
        self.heads, self.project_out = attention.heads, _with_bias(attention.to_out[0])

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        query, key, value = self.project_in(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.project_out(mixed.transpose(1, 2).flatten(2))
        return result


class FoldedCrossAttention(nn.Module):
    """Multi-head attention to keys and values that are stored: `(1, heads, L, d)` buffers."""

    key: Tensor
    value: Tensor

    def __init__(self, attention: Any, key: Tensor, value: Tensor) -> None:
        super().__init__()
        self.heads, self.project_in, self.project_out = attention.heads, attention.to_q, attention.to_out[0]
        self.register_buffer("key", key.unsqueeze(0))
        self.register_buffer("value", value.unsqueeze(0))

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        query = self.project_in(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = (part.expand(len(tokens), -1, -1, -1) for part in (self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.project_out(mixed.transpose(1, 2).flatten(2))
        return result


class MeltedCrossAttention(nn.Module):
    """Attention to few text tokens: keys melted into the query projection, values into the output projection."""

    def __init__(self, attention: Any, key: Tensor, value: Tensor) -> None:
        super().__init__()
        self.heads = attention.heads
        width = key.shape[-1]
        query = attention.to_q.weight.unflatten(0, (self.heads, width))
        score = torch.einsum("hld,hdc->hlc", key, query).flatten(0, 1) / math.sqrt(width)
        bias = attention.to_q.bias
        if bias is not None:
            bias = torch.einsum("hld,hd->hl", key, bias.unflatten(0, (self.heads, width))).flatten() / math.sqrt(width)
        output = attention.to_out[0].weight.unflatten(1, (self.heads, width))
        self.score = _make_linear(score, bias)
        self.mix = _make_linear(torch.einsum("chd,hld->chl", output, value).flatten(1), attention.to_out[0].bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, C)` to `(B, N, C)`."""
        shares = self.score(tokens).unflatten(2, (self.heads, -1)).softmax(-1)
        result: Tensor = self.mix(shares.flatten(2))
        return result


def _fold_unet(unet: UNet2DConditionModel, enhancer: LatentEnhancer) -> FoldedUNet:
    """Take a U-Net apart, fold each part, and put the parts in a row."""
    text = enhancer.text_embedding.to(unet.dtype)
    sample = torch.zeros(1, device=text.device, dtype=unet.dtype)
    emb = unet.time_embedding(unet.get_time_embed(sample, enhancer.timestep))
    emb = emb if unet.time_embed_act is None else unet.time_embed_act(emb)
    down: list[nn.Module] = []
    for block in unet.down_blocks:
        down += [nn.Sequential(*pair) for pair in _pairs(block, emb, text)]
        down += [part.conv for part in block.downsamplers or ()]
    up: list[nn.Module] = []
    for block in unet.up_blocks:
        up += [FoldedUp(*pair) for pair in _pairs(block, emb, text)]
        up += [nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), u.conv) for u in block.upsamplers or ()]
    head, tail = _fold_ends(unet, enhancer)
    return FoldedUNet(head, down, _fold_mid(unet.mid_block, emb, text), up, tail)


def _pairs(block: Any, emb: Tensor, text: Tensor) -> list[list[nn.Module]]:
    """The residual blocks of a stage, each with the attention that follows it, if any."""
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return [
        [FoldedResnet(resnet, emb)] + ([FoldedTransformer(attention, text)] if attention is not None else [])
        for resnet, attention in zip(block.resnets, attentions, strict=True)
    ]


def _fold_mid(block: Any, emb: Tensor, text: Tensor) -> nn.Module:
    """The lowest stage: residual blocks with attentions between them."""
    if block is None:
        return nn.Identity()
    resnets = [FoldedResnet(resnet, emb) for resnet in block.resnets]
    steps: list[nn.Module] = [resnets[0]]
    for attention, resnet in zip(block.attentions, resnets[1:], strict=True):
        steps += ([] if attention is None else [FoldedTransformer(attention, text)]) + [resnet]
    return nn.Sequential(*steps)


def _fold_ends(unet: UNet2DConditionModel, enhancer: LatentEnhancer) -> tuple[nn.Conv2d, nn.Module]:
    """Head that takes the unscaled latent, tail that gives the finished change of it."""
    unet.conv_in.weight.mul_(enhancer.alignment_scale)
    share = _factors(enhancer)[1]
    unet.conv_out.weight.mul_(share)
    unet.conv_out.bias.mul_(share)
    before = [] if unet.conv_norm_out is None else [unet.conv_norm_out, unet.conv_act]
    return unet.conv_in, nn.Sequential(*before, unet.conv_out)


def _factors(enhancer: LatentEnhancer) -> tuple[float, float]:
    """Equation 4 as `keep * z + share * U(g z)`: both factors, in double precision."""
    signal, noise = math.sqrt(enhancer.alpha_bar), math.sqrt(1.0 - enhancer.alpha_bar)
    if enhancer.schedule.prediction_type == "v_prediction":
        return signal, -noise / enhancer.alignment_scale
    return 1.0 / signal, -noise / signal / enhancer.alignment_scale


def _keys_and_values(attention: Any, text: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of the text, `(heads, L, d)` each."""
    parts = [layer(text)[0].unflatten(1, (attention.heads, -1)) for layer in (attention.to_k, attention.to_v)]
    return parts[0].transpose(0, 1), parts[1].transpose(0, 1)


def _fold_cross_attention(attention: Any, key: Tensor, value: Tensor) -> nn.Module:
    """The cheaper of two equal forms of attention to constant text."""
    # Multiplications per pixel: 2 C heads L when melted, 2 C C + 2 C L when keys and values are stored.
    length, width = key.shape[1], attention.to_q.in_features
    if attention.heads * length <= width + length:
        return MeltedCrossAttention(attention, key, value)
    return FoldedCrossAttention(attention, key, value)


def _linear(layer: nn.Linear | nn.Conv2d) -> nn.Linear:
    """A 1 x 1 convolution as the linear layer that it is."""
    return layer if isinstance(layer, nn.Linear) else _make_linear(layer.weight[:, :, 0, 0], layer.bias)


def _with_bias(layer: nn.Linear) -> nn.Linear:
    """The same layer, with a bias of zeros if it had none."""
    return layer if layer.bias is not None else _make_linear(layer.weight, layer.weight.new_zeros(len(layer.weight)))


def _make_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer of given weights."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def _check(unet: UNet2DConditionModel) -> None:
    """Refuse whatever the classes above do not reproduce."""
    strange = [
        f"{type(module).__name__} {name}".rstrip()
        for name, module in unet.named_modules()
        if type(module).__module__.startswith("diffusers.") and _odd(module)
    ]
    for name, expected in _SETTINGS.items():
        value = unet.config.get(name, expected)
        values = value if isinstance(value, list | tuple) else [value]
        strange += [f"{name}={value}" for item in values if item != expected]
    if strange:
        raise ModelError(f"expected a U-Net of Stable Diffusion's kind, got {strange[0]}; use the enhancer unfolded")


def _odd(module: Any) -> bool:
    """Whether a diffusers layer does something that its folded form does not."""
    kind = type(module).__name__
    if kind == "Attention":
        extras = (module.group_norm, module.spatial_norm, module.norm_q, module.norm_k, module.norm_cross)
        return any(extra is not None for extra in extras) or module.rescale_output_factor != 1.0
    if kind == "Downsample2D":
        return bool(module.padding != 1 or module.norm is not None)
    if kind == "BasicTransformerBlock":
        return bool(module.norm_type != "layer_norm" or module.pos_embed is not None)
    return kind not in _KNOWN_LAYERS
