"""Latents as images: of the clean photo, of the degraded one, and enhanced (GleSAM, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from glesam.enhance.pipeline import Restoration, shrink
from glesam.errors import ConfigError
from glesam.models.base import Embedding, ImageGeometry, PromptableModel

RGB = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]
_HEADINGS = ("clean photo", "degraded", "features, clean", "features, degraded", "features, enhanced")


@dataclass(frozen=True)
class FeatureRow:
    """One photo's maps.

    Attributes:
        title: what it is.
        clean: `(H, W, 3)` uint8 RGB.
        degraded: the same photo, degraded.
        maps: `(h, w)` float32 means over the channels, of the clean, the degraded and the enhanced latent, cut to the
            part of the square that the photo fills.
        errors: root mean square difference of the degraded and of the enhanced latent from the clean one.
    """

    title: str
    clean: RGB
    degraded: RGB
    maps: tuple[Map, Map, Map]
    errors: tuple[float, float]


@torch.inference_mode()
def feature_row(model: PromptableModel, restoration: Restoration, clean: RGB, degraded: RGB, title: str) -> FeatureRow:
    """Encode a photo clean, degraded, and degraded with its embedding restored.

    Where the restoration encodes photos anew at another size, all three are shown at that size.

    Args:
        model: the base model.
        restoration: its enhancer (`enhance.bundle.load_bundle`).
        clean: `(H, W, 3)` uint8 RGB.
        degraded: of the same size.
        title: of the row.

    Raises:
        ConfigError: the photos differ in size.
    """
    if clean.shape != degraded.shape:
        raise ConfigError(f"expected two photos of one size, got {clean.shape} and {degraded.shape}; degrade the same")
    (pixels, geometry), (low, _) = model.preprocess(clean), model.preprocess(degraded)
    raw = model.encode(low)
    level = restoration.judge(raw, low).level
    after = restoration.restore(model, raw, level, low)
    size = restoration.rule(level).image_size
    before = model.encode(shrink(pixels, size))
    raw = raw if size is None else model.encode(shrink(low, size))
    latents = [_filled(embedding, geometry) for embedding in (before, raw, after)]
    maps = [latent.mean(axis=0) for latent in latents]
    errors = [float(np.sqrt(np.mean((latent - latents[0]) ** 2))) for latent in latents[1:]]
    return FeatureRow(title, clean, degraded, (maps[0], maps[1], maps[2]), (errors[0], errors[1]))


def _filled(embedding: Embedding, geometry: ImageGeometry) -> Map:
    """`(C, h, w)` latent of one photo, without the padding."""
    latent = embedding.latent[0].float().cpu().numpy()
    cells = [max(1, round(n * latent.shape[-1] / geometry.image_size)) for n in geometry.input_size]
    return np.asarray(latent[:, : cells[0], : cells[1]], np.float32)


def draw_feature_maps(rows: Sequence[FeatureRow], path: Path) -> Path:
    """Draw photos and maps side by side, each map in its own range of values.

    An enhancer that was trained together with the decoder need not keep the mean over the channels.
    """
    from glesam.draw.figures import new_figure, save

    ratios = [min(1.6, max(0.5, row.clean.shape[0] / row.clean.shape[1])) for row in rows]
    height = sum(2.4 * ratio + 0.5 for ratio in ratios)
    figure, axes = new_figure(2.4 * 5, height, len(rows), 5, gridspec_kw={"height_ratios": ratios})
    for panels, row in zip(axes, rows, strict=True):
        pictures = [row.clean, row.degraded, *(_coloured(m, row.clean.shape[:2]) for m in row.maps)]
        notes = [row.title, "", "", f"rms error {row.errors[0]:.3f}", f"rms error {row.errors[1]:.3f}"]
        for panel, picture, heading, note in zip(panels, pictures, _HEADINGS, notes, strict=True):
            panel.imshow(picture)
            panel.set_title(f"{heading}\n{note}".strip(), fontsize=8)
            panel.set_axis_off()
    return save(figure, path)


def _coloured(values: Map, size: tuple[int, int]) -> RGB:
    """A map in colours at the photo's size; nearest cells, so that the latent's true resolution shows."""
    low, high = (float(np.percentile(values, q)) for q in (1, 99))
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    coloured = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    large = cv2.resize(coloured, size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.cvtColor(large, cv2.COLOR_BGR2RGB), np.uint8)
