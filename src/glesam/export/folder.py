"""`glesam export` in Python: a checked folder of graphs with its `config.json`."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glesam.common.files import sha256, write_text
from glesam.common.messages import one_of
from glesam.enhance.pipeline import Restoration
from glesam.errors import ConfigError, ModelError
from glesam.export.check import GraphComparison, compare
from glesam.export.graphs import Graph, enhancer_graph, graphs, inputs_of
from glesam.export.onnx import OPSET, write_onnx
from glesam.export.openvino import INT8, write_openvino
from glesam.images.reading import ImageInput
from glesam.models.exported.model import FAMILY, SUFFIXES, RuntimeModel, runtime_of
from glesam.models.exported.sessions import RUNTIMES, need, open_session
from glesam.predict.predictor import Predictor
from glesam.weights.folders import CONFIG_FILE, state_digest

WRITERS: dict[str, Callable[[Graph, Path], None]] = {"onnx": write_onnx, "openvino": write_openvino}


def export(
    predictor: Predictor,
    folder: str | os.PathLike[str],
    format: str = "onnx",
    images: Iterable[ImageInput] = (),
    overwrite: bool = False,
    int8: bool = False,
) -> GraphComparison:
    """Export a predictor's model, and what restores degraded images if it has that, and compare with torch.

    Args:
        predictor: compact, SAM, MobileSAM or SAM 2; of the last three also with a head of HQ-SAM, and without enhancer.
        folder: made here; an error leaves none behind.
        format: "onnx" or "openvino".
        images: to compare on; none: two drawn images.
        overwrite: replace an exported folder that is there already.
        int8: weights of 8 bits, for OpenVINO: about a quarter of the size, and masks that differ a little.

    Returns:
        The differences, all within the bar.

    Raises:
        ConfigError: unknown format, 8 bits for another than OpenVINO, or the folder is there already.
        ModelError: a part cannot be exported or is not on the CPU, a package is missing, or masks differ too much from
            torch's.
        ImageError: an image cannot be read.
        OSError: a file cannot be written.
    """
    target = Path(folder)
    _check_options(target, format, overwrite, int8)
    if predictor.model.device.type != "cpu":
        raise ModelError(f"expected a model on the CPU to export, got one on {predictor.model.device}; load it there")
    with _fresh_folder(target) as temporary:
        _write(predictor, temporary, format, int8)
        model = RuntimeModel.from_pretrained(temporary, format)
        exported = Predictor(model, "auto", model.restoration(), refine=predictor.refine, quality=predictor.quality)
        comparison = compare(_plain(predictor), exported, _some(images))
        comparison.require(int8)
    return comparison


def _plain(predictor: Predictor) -> Predictor:
    """A predictor on the same model without the restorer and the type that an export has not."""
    restoration = Restoration.of(predictor.enhancer, predictor.gate)
    return Predictor(predictor.model, "auto", restoration, refine=predictor.refine, quality=predictor.quality)


def _some(images: Iterable[ImageInput]) -> Iterable[ImageInput]:
    """The images, read one by one as they come; drawn ones where there are none."""
    rest = iter(images)
    first = list(itertools.islice(rest, 1))
    return itertools.chain(first, rest) if first else drawn_images()


def export_enhancer(
    enhancer: nn.Module, path: str | os.PathLike[str], size: tuple[int, int] = (32, 32), tolerance: float = 1e-3
) -> float:
    """Export an enhancer alone, for a program that has its own encoder and decoder.

    Args:
        enhancer: a `LatentEnhancer`, which is folded, or a folded or residual one.
        path: ends in `.onnx` or `.xml` (OpenVINO).
        size: `(h, w)` of the latents to trace and compare with.
        tolerance: largest difference allowed on a random latent, as a share of the answer's largest value.

    Returns:
        The largest absolute difference from torch.

    Raises:
        ConfigError: another suffix.
        ModelError: a package is missing, or the answers differ.
    """
    path = Path(path)
    formats = {suffix: name for name, suffix in SUFFIXES.items()}
    if path.suffix not in formats:
        raise ConfigError(f"expected a name that ends in .onnx or .xml, got {path.name!r}; choose one")
    graph, format = enhancer_graph(enhancer, size), formats[path.suffix]
    need(RUNTIMES[format], format)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".glesam-") as place:
        draft = Path(place) / path.name
        WRITERS[format](graph, draft)
        with torch.no_grad():
            wanted = graph.module(*graph.example)
        error = float((open_session(draft, format)(latent=graph.example[0])[0] - wanted).abs().max())
        if not error <= tolerance * float(wanted.abs().max()):
            raise ModelError(
                f"expected an enhancer equal to torch's, got differences of {error:.3g}; try another format"
            )
        for written in sorted(Path(place).iterdir()):  # OpenVINO writes its weights beside the graph
            written.replace(path.parent / written.name)
    return error


def drawn_images() -> list[Any]:
    """Two images of discs and stripes, `(H, W, 3)` uint8, for a check on none of one's own."""
    import numpy as np

    ys, xs = np.mgrid[:240, :320]
    disc = ((xs - 120) ** 2 + (ys - 100) ** 2 < 70**2)[..., None] * np.array([90, 40, -60])
    stripes = (np.sin(xs / 9 + ys / 23) * 40)[..., None] * np.array([1.0, -0.5, 0.3])
    first = (120 + disc + stripes).clip(0, 255).astype(np.uint8)
    return [first, np.ascontiguousarray(first[::-1, 40:200])]


def _check_options(target: Path, format: str, overwrite: bool, int8: bool) -> None:
    """Refuse what would fail at the end, before the work."""
    one_of("a format", format, WRITERS)
    if int8 and format != "openvino":
        raise ConfigError(f"expected int8 with the format openvino, got {format}; take that or leave int8 out")
    if int8:
        need("nncf", INT8)
    need("onnx", format), need(RUNTIMES[format], format)
    if target.exists() and not overwrite:
        raise ConfigError(f"expected a new folder, got {target}, which is there; choose another or use --overwrite")
    if target.exists() and runtime_of(target) is None and any(target.iterdir()):
        raise ConfigError(f"expected an exported folder to replace, got {target}, which is none; choose another name")


@contextmanager
def _fresh_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its place when all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.chmod(0o755)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(predictor: Predictor, folder: Path, format: str, int8: bool) -> None:
    """Write all graphs and the configuration."""
    restoration = Restoration.of(predictor.enhancer, predictor.gate)
    parts = graphs(predictor.model, restoration)
    for name, graph in parts.items():
        path = folder / (name + SUFFIXES[format])
        if int8:
            write_openvino(graph, path, int8=True)
        else:
            WRITERS[format](graph, path)
    config = {
        "family": FAMILY,
        "format": format,
        "int8": int8,
        "source": {"name": predictor.name, "family": predictor.model.family, "sha256": state_digest(predictor.model)},
        "inputs": inputs_of(predictor.model),
        "image_size": predictor.model.image_size,
        "opset": OPSET,
        "graphs": {n: {"inputs": g.inputs, "outputs": g.outputs, "free_axes": g.dynamic} for n, g in parts.items()},
        "restoration": None if restoration is None else _options(restoration),
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
    }
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def _options(restoration: Restoration) -> dict[str, Any]:
    """What a restoration is beside its graphs."""
    return {
        "threshold": getattr(restoration.gate, "threshold", None),
        "margins": getattr(restoration.gate, "margins", None),
        "skips": None if restoration.skips is None else restoration.skips.kind,
        "rules": [asdict(rule) for rule in restoration.rules],
        "weights": restoration.weights,
    }
