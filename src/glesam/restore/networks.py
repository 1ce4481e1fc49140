"""Networks as restorers: our U-Net, Swin2SR from a local folder, and any TorchScript or ONNX file.

Networks get `(1, 3, h, w)` float32 RGB, 0 to 1, and give the same size, or a whole multiple of it, which is brought
back by averaging: a super-resolution network restores, but the image keeps its size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.files import sha256
from glesam.errors import ConfigError, ModelError
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer, Setting
from glesam.restore.tiles import Tiling, run_tiled
from glesam.restore.unet import RestorationUnet
from glesam.weights.folders import WEIGHTS_FILE, brief, check_loaded, read_config, state_digest

UNKNOWN = Tiling(tile=512, overlap=96, margin=24, multiple=64)
"""For a file that says nothing of itself: sides that nearly all networks take."""


class NetworkRestorer(Restorer):
    """Runs a network over an image, in tiles where it is large.

    Args:
        name: as in the registry.
        network: see the head of this file.
        tiling: how large images are cut.
        settings: what else acts on the result, such as the weights' digest.
        device: where the network is.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[Tensor], Any],
        tiling: Tiling,
        settings: Mapping[str, Setting] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(name, {**(settings or {}), "tile": tiling.tile, "overlap": tiling.overlap})
        self._network, self._tiling, self._device = network, tiling, device

    @torch.inference_mode()
    def apply(self, image: RGB, name: str | None) -> RGB:
        """Run the network and round to bytes."""
        pixels = torch.from_numpy(np.array(image)).to(self._device).permute(2, 0, 1)[None].float() / 255
        restored = run_tiled(lambda tile: _same_size(self._network(tile), tile, self.name), pixels, self._tiling)
        scaled = (restored.clamp(0, 1) * 255).round().byte()
        return np.ascontiguousarray(scaled[0].permute(1, 2, 0).cpu().numpy())


def open_unet(folder: str, device: str = "cpu") -> Restorer:
    """`unet:FOLDER`: a U-Net that `glesam train restorer` saved.

    Raises:
        ModelError: missing, corrupt, or another model.
    """
    network = RestorationUnet.from_pretrained(folder).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return unet_restorer(network, {"weights": _digest(Path(folder) / WEIGHTS_FILE)}, device)


def unet_restorer(
    network: RestorationUnet, settings: Mapping[str, Setting] | None = None, device: str = "cpu"
) -> NetworkRestorer:
    """A U-Net as a restorer, its tiles such that the cut cannot be seen in the result."""
    margin = network.reach
    overlap = 2 * margin + 32
    tile = -(-max(1024, 2 * overlap) // network.multiple) * network.multiple
    return NetworkRestorer("unet", network, Tiling(tile, overlap, margin, network.multiple), settings, device)


def open_swin2sr(folder: str, device: str = "cpu") -> Restorer:
    """`swin2sr:FOLDER`: Swin2SR (Conde et al., ECCVW 2022) as transformers saves it; `config.json` and weights.

    Raises:
        ModelError: no such folder, another model, or keys that do not match.
    """
    from transformers import Swin2SRForImageSuperResolution

    found = read_config(folder).get("model_type")
    if found != "swin2sr":
        raise ModelError(f"expected a swin2sr model in {folder}, got {found!r}; give a folder of Swin2SR")
    try:
        model, info = Swin2SRForImageSuperResolution.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises many types for damaged folders
        raise ModelError(f"expected a Swin2SR model in {folder}, got {brief(error)}; download it again") from error
    check_loaded(info, "a Swin2SR model", folder)
    network = model.to(device).eval()
    window = int(model.config.window_size)
    # Attention reaches far; tiles only have to agree where they fade into each other.
    tiling = replace(UNKNOWN, tile=-(-256 // window) * window, overlap=64, margin=16, multiple=window)
    # Of what was loaded: transformers takes files of several names.
    settings: dict[str, Setting] = {"weights": state_digest(model)[:16]}
    return NetworkRestorer("swin2sr", lambda tile: network(tile).reconstruction, tiling, settings, device)


def open_torchscript(file: str, device: str = "cpu") -> Restorer:
    """`torchscript:FILE`: any scripted or traced network.

    Raises:
        ModelError: no such file, or none of TorchScript.
    """
    try:
        network = torch.jit.load(file, map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"expected a TorchScript file at {file}, got {brief(error)}; save it by torch.jit") from error
    return NetworkRestorer("torchscript", _guarded(network, file), UNKNOWN, {"weights": _digest(Path(file))}, device)


def open_onnx(file: str, device: str = "cpu") -> Restorer:
    """`onnx:FILE`: any network with one image in and one out; its sides may be fixed if they are equal.

    Raises:
        ModelError: no such file, none of ONNX, or other inputs.
        ConfigError: onnxruntime is not installed.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ConfigError("expected onnxruntime for onnx:FILE, got none; pip install 'glesam[onnx]'") from error
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own for each cause
        raise ModelError(f"expected an ONNX network at {file}, got {brief(error)}; check the file") from error
    network, tiling = _guarded(_OnnxNetwork(session), file), _onnx_tiling(session, file)
    return NetworkRestorer("onnx", network, tiling, {"weights": _digest(Path(file))}, "cpu")


def _guarded(network: Callable[[Tensor], Any], file: str) -> Callable[[Tensor], Any]:
    """A network from elsewhere, whatever it raises told in one line."""

    def run(tile: Tensor) -> Any:
        try:
            return network(tile)
        except Exception as error:  # each runtime raises types of its own
            raise ModelError(
                f"expected the network in {file} to take {tuple(tile.shape)} float32, got {brief(error)}; export one "
                "that restores RGB images"
            ) from error

    return run


class _OnnxNetwork:
    """An ONNX session as a function of tensors."""

    def __init__(self, session: Any) -> None:
        self._session, self._input = session, session.get_inputs()[0].name

    def __call__(self, tile: Tensor) -> Tensor:
        """Run one tile."""
        return torch.from_numpy(self._session.run(None, {self._input: tile.numpy()})[0])


def _onnx_tiling(session: Any, file: str) -> Tiling:
    """Tiles that an ONNX network takes."""
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
        raise ModelError(f"expected one input (1, 3, H, W) in {file}, got {[i.shape for i in inputs]}; export it so")
    height, width = shape[2:]
    if not isinstance(height, int) and not isinstance(width, int):
        return UNKNOWN
    if height != width:
        raise ModelError(f"expected free or equal height and width in {file}, got {shape}; export it with free ones")
    overlap = height // 4
    return Tiling(height, overlap, overlap // 4, 1, fixed=True)


def _same_size(result: Any, tile: Tensor, name: str) -> Tensor:
    """Bring a network's answer to the size of its input."""
    shape = tuple(result.shape) if isinstance(result, Tensor) else ()
    scale = shape[-1] // tile.shape[-1] if len(shape) == 4 else 0
    if scale < 1 or shape != (1, 3, tile.shape[-2] * scale, tile.shape[-1] * scale):
        raise ModelError(
            f"expected {name} to give (1, 3, {tile.shape[-2]}, {tile.shape[-1]}) or a whole multiple, got "
            f"{shape or type(result).__name__}; use a network that restores images"
        )
    if not bool(result.isfinite().all()):
        raise ModelError(f"expected {name} to give numbers, got some that are not finite; use other weights")
    same: Tensor = result if scale == 1 else F.avg_pool2d(result, scale)
    return same


def _digest(path: Path) -> str:
    """Start of the digest of a weight file."""
    return sha256(path)[:16]
