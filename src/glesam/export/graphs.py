"""Which graphs a model is exported as: each module with example inputs, names and free axes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glesam.enhance.folding import fold
from glesam.enhance.gains import GainGate
from glesam.enhance.gate import DegradationGate
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.pipeline import Restoration
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ModelError
from glesam.export.modules import DecoderGraph, EncoderGraph, GainGraph, GateGraph, SkipsGraph
from glesam.models.base import CORNER_LABELS, PromptableModel
from glesam.models.compact.fine import WIDTH
from glesam.models.compact.model import STRIDE, CompactModel

_CHANNELS = (256, 32, 64)
"""Of the latent and of the skips at strides 4 and 8."""


@dataclass(frozen=True)
class Graph:
    """A module to export, with example inputs, and the names by which a runtime feeds it.

    Attributes:
        module: takes and gives tensors only.
        example: inputs to trace with.
        inputs, outputs: names, in order.
        dynamic: names of the free axes of each input and output.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


def graphs(model: PromptableModel, restoration: Restoration | None = None) -> dict[str, Graph]:
    """Split a model into the graphs that are exported, by name.

    Names are `encoder` and `decoder`, and for what restores degraded photos `enhancer` (`enhancer-t7` for timestep 7),
    `gate`, `skips`, `tuned` (a tuned decoder) and `tuned-encoder`.

    Raises:
        ModelError: a family, or a part of the restoration, whose export is not known.
    """
    base = _compact(model)
    parts = {"encoder": encoder_graph(base), "decoder": decoder_graph(base)}
    if restoration is None:
        return parts
    parts |= _enhancers(restoration, base.image_size // STRIDE)
    if restoration.gate is not None:
        parts["gate"] = _gate(restoration.gate, base.image_size // STRIDE)
    if restoration.skips is not None:
        parts["skips"] = _skips(restoration.skips, base.image_size // STRIDE)
    if restoration.encoder is not None:
        parts["tuned-encoder"] = encoder_graph(_compact(restoration.encoder))
    if restoration.decoder is not None:
        parts["tuned"] = decoder_graph(_compact(restoration.decoder), _has_early(restoration.encoder or base))
    return parts


def _enhancers(restoration: Restoration, side: int) -> dict[str, Graph]:
    """The enhancer, and the enhancer at each timestep that a rule names."""
    found: dict[str, object] = {"enhancer": restoration.enhancer}
    found |= {f"enhancer-t{timestep}": enhancer for timestep, enhancer in restoration.at_timestep.items()}
    parts = {}
    for name, enhancer in found.items():
        if isinstance(enhancer, nn.Module):
            parts[name] = enhancer_graph(enhancer, (side, side))
        elif enhancer is not None:
            raise ModelError(f"expected an enhancer that is a torch module, got {type(enhancer).__name__}; wrap it")
    return parts


def encoder_graph(model: CompactModel) -> Graph:
    """The graph of the image encoder; sides are free in multiples of 32 pixels."""
    example = (torch.zeros(2, 3, model.image_size, model.image_size),)
    outputs = ("latent", "skip4", "skip8", *(("early",) if _has_early(model) else ()))
    return Graph(EncoderGraph(model).eval(), example, ("pixel_values",), outputs, _free(("pixel_values", *outputs)))


def enhancer_graph(enhancer: nn.Module, size: tuple[int, int]) -> Graph:
    """The graph of an enhancer for latents of `(h, w)`; a `LatentEnhancer` is folded first, its constants melted in.

    Batch and size are free, the size in multiples of the enhancer's stride.
    """
    module = fold(enhancer, channels_last=False) if isinstance(enhancer, LatentEnhancer) else enhancer
    channels = int(module.channels)  # type: ignore[arg-type]
    example = (torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0)),)
    return Graph(module.eval(), example, ("latent",), ("enhanced",), _free(("latent", "enhanced")))


def _has_early(model: PromptableModel) -> bool:
    """Whether a model's encoder gives the early features that masks at stride 2 are made with."""
    return isinstance(model, CompactModel) and model.encoder.early is not None


def decoder_graph(model: CompactModel, early: bool | None = None) -> Graph:
    """The graph of prompt encoder and mask decoder; sides are free, up to those of the model's square.

    Args:
        model: gives the weights.
        early: whether there are early features for masks at stride 2; None asks the model's own encoder.
    """
    fine = model.fine is not None and (_has_early(model) if early is None else early)
    side = model.image_size // STRIDE
    maps = _maps(1, _CHANNELS, side)
    coords = torch.tensor([[[20.0, 30.0], [4.0, 5.0], [90.0, 80.0]], [[50.0, 40.0], [9.0, 8.0], [70.0, 60.0]]])
    labels = torch.tensor([[1, *CORNER_LABELS], [0, *CORNER_LABELS]])
    masks = torch.zeros(2, 4 * side, 4 * side)
    inputs: tuple[str, ...] = ("latent", "skip4", "skip8", "point_coords", "point_labels", "mask_input", "has_mask")
    dynamic = {name: axes | {0: "images"} for name, axes in _free(inputs[:3]).items()}
    dynamic |= {name: {0: "prompts", 1: "points"} for name in inputs[3:5]}
    dynamic |= {"mask_input": {0: "prompts", 1: "height_mask", 2: "width_mask"}, "has_mask": {0: "prompts"}}
    dynamic |= _free(("logits",)) | {"iou": {0: "prompts"}}
    example = (*maps, coords, labels, masks, torch.tensor([0.0, 1.0]))
    outputs: tuple[str, ...] = ("logits", "iou")
    if fine:
        example = (*example, torch.randn(1, WIDTH, 8 * side, 8 * side, generator=torch.Generator().manual_seed(1)))
        inputs, outputs = (*inputs, "early"), (*outputs, "fine")
        dynamic |= {"early": _free(("early",))["early"] | {0: "images"}} | _free(("fine",))
    return Graph(DecoderGraph(model, fine).eval(), example, inputs, outputs, dynamic)


def _gate(gate: object, side: int) -> Graph:
    """The graph of the gate: latent to level; of one that judges by gain, embedding and pixels to level and gains."""
    if isinstance(gate, GainGate):
        return _gain_gate(gate, side)
    if not isinstance(gate, DegradationGate):
        raise ModelError(
            f"expected a GainGate or a DegradationGate to export, got {type(gate).__name__}; export without a gate"
        )
    example = (torch.randn(2, gate.channels, side, side, generator=torch.Generator().manual_seed(0)),)
    return Graph(GateGraph(gate).eval(), example, ("latent",), ("level",), _free(("latent",)) | {"level": {0: "batch"}})


def _gain_gate(gate: GainGate, side: int) -> Graph:
    """The graph of a gate that judges by gain."""
    pixels = torch.randn(2, 3, STRIDE * side, STRIDE * side, generator=torch.Generator().manual_seed(1))
    inputs: tuple[str, ...] = ("latent", "skip4", "skip8", "pixel_values")
    example = (*_maps(2, gate.channels, side), pixels)
    if gate.early:
        early = torch.randn(2, gate.early, 8 * side, 8 * side, generator=torch.Generator().manual_seed(2))
        inputs, example = (*inputs, "early"), (*example, early)
    dynamic = _free(inputs) | {"level": {0: "batch"}, "gains": {0: "batch"}}
    return Graph(GainGraph(gate).eval(), example, inputs, ("level", "gains"), dynamic)


def _skips(adapter: SkipAdapter, side: int) -> Graph:
    """The graph of the skip adapter."""
    inputs, outputs = ("latent", "skip4", "skip8"), ("adapted4", "adapted8")
    example = (*_maps(2, (adapter.channels, *adapter.skips), side), torch.tensor([1.0, 2.0]))
    dynamic = _free((*inputs, *outputs)) | {"level": {0: "batch"}}
    return Graph(SkipsGraph(adapter).eval(), example, (*inputs, "level"), outputs, dynamic)


def _maps(count: int, channels: Iterable[int], side: int) -> tuple[Tensor, ...]:
    """Random latent and skips of the given channels."""
    generator = torch.Generator().manual_seed(0)
    sizes = zip(channels, (side, 4 * side, 2 * side), strict=True)
    return tuple(torch.randn(count, c, s, s, generator=generator) for c, s in sizes)


def _free(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Free batch, height and width of each map."""
    return {name: {0: "batch", 2: f"height_{name}", 3: f"width_{name}"} for name in names}


def _compact(model: PromptableModel) -> CompactModel:
    """The model, on the CPU, if its export is known."""
    if not isinstance(model, CompactModel):
        raise ModelError(
            f"expected a model of family compact to export, got {model.family}; for SAM and SAM 2 use their authors' "
            "own ONNX export"
        )
    return model.cpu().eval()
