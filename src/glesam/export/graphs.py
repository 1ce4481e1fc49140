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
from glesam.export.sam import SamDecoderGraph, SamEncoderGraph, SamParts
from glesam.heads.headed import HeadedModel
from glesam.models.base import CORNER_LABELS, PromptableModel
from glesam.models.compact.fine import WIDTH
from glesam.models.compact.model import STRIDE, CompactModel
from glesam.models.sam.sam2 import Sam2Promptable

_LARGEST = 2**31
"""Bytes of weights from which on an ONNX file needs others beside it."""

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
    """Split a model (compact, SAM, MobileSAM, SAM 2; these three with a head of HQ-SAM too) into graphs, by name.

    Names are `encoder` and `decoder`, and for what restores degraded images `enhancer` (`enhancer-t7` for timestep 7),
    `gate`, `skips`, `tuned` (a tuned decoder) and `tuned-encoder`.

    Raises:
        ModelError: a family, or a part of the restoration, whose export is not known.
    """
    sam = SamParts.of(model)
    if sam is not None:
        return _sam_graphs(sam, restoration)
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


def inputs_of(model: PromptableModel) -> str:
    """The kind of `glesam.models.exported.inputs` that a model belongs to."""
    sam = SamParts.of(model)
    if sam is None:
        return "compact"
    return "sam2" if isinstance(sam.model, Sam2Promptable) else "sam"


def _sam_graphs(sam: SamParts, restoration: Restoration | None) -> dict[str, Graph]:
    """Encoder and decoder of a SAM, MobileSAM or SAM 2; sides are fixed, and the encoder takes one image.

    Raises:
        ModelError: there is an enhancer, or the model is larger than ONNX files can be.
    """
    if restoration is not None:
        raise ModelError(
            f"expected a {sam.model.family} model without an enhancer to export, got one with it; leave it out"
        )
    if sum(p.numel() * p.element_size() for p in sam.model.parameters()) >= _LARGEST:
        raise ModelError(
            f"expected weights of less than 2 GB to export, as one ONNX file holds, got a larger {sam.model.family}; "
            "use a smaller variant"
        )
    encoder, side = SamEncoderGraph(sam).eval(), sam.model.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = encoder(pixels)
    skips = ("skip4", "skip8") if isinstance(sam.model, Sam2Promptable) else ()
    names = ("latent", *skips, *(("fused",) if len(maps) > 1 + len(skips) else ()))
    decoder, (example, points) = SamDecoderGraph(sam, len(skips)).eval(), _points(maps[0].shape[-1])
    outputs = ("logits", "iou", *(("object_score",) if skips and sam.head is None else ()))
    free = {name: {0: "images"} for name in names} | points | {name: {0: "prompts"} for name in outputs}
    return {
        "encoder": Graph(encoder, (pixels,), ("pixel_values",), names, {}),
        "decoder": Graph(decoder, (*maps, *example), (*names, *points), outputs, free),
    }


def _points(side: int) -> tuple[tuple[Tensor, ...], dict[str, dict[int, str]]]:
    """Example prompts of a decoder for latents of a side, and their names with the free axes."""
    coords = torch.tensor([[[20.0, 30.0], [4.0, 5.0], [90.0, 80.0]], [[50.0, 40.0], [9.0, 8.0], [70.0, 60.0]]])
    labels = torch.tensor([[1, *CORNER_LABELS], [0, *CORNER_LABELS]])
    free = {name: {0: "prompts", 1: "points"} for name in ("point_coords", "point_labels")}
    free |= {"mask_input": {0: "prompts", 1: "height_mask", 2: "width_mask"}, "has_mask": {0: "prompts"}}
    return (coords, labels, torch.zeros(2, 4 * side, 4 * side), torch.tensor([0.0, 1.0])), free


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
    prompts, points = _points(side)
    inputs: tuple[str, ...] = ("latent", "skip4", "skip8", *points)
    dynamic = {name: axes | {0: "images"} for name, axes in _free(inputs[:3]).items()}
    dynamic |= points | _free(("logits",)) | {"iou": {0: "prompts"}}
    example = (*maps, *prompts)
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
            "expected a compact model, SAM, MobileSAM or SAM 2 to export, the last three with or without an hq head, "
            f"got {_described(model)}; export the model without it, or one of these"
        )
    return model.cpu().eval()


def _described(model: PromptableModel) -> str:
    """Family of a model, and of its head."""
    if isinstance(model, HeadedModel):
        return f"{model.base.family} with a {model.head_kind} head"
    return model.family
