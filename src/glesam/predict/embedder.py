"""From images to embeddings: read, restore, encode, enhance, and keep the last ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from glesam import images
from glesam.common.forks import survive_forks
from glesam.common.stopping import check
from glesam.enhance.gate import Verdict
from glesam.enhance.pipeline import LevelRule, Restoration, shrink
from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.images.shrink import shrink as shrunk
from glesam.images.shrink import shrunk_size
from glesam.masks.refine import make_guide
from glesam.models.base import Embedding, ImageGeometry, PromptableModel
from glesam.predict.cache import EncodedImages
from glesam.predict.embeddings import Encoded, in_float32, row, same_shape
from glesam.predict.modes import check_enhance
from glesam.predict.quality import FAST, check_quality
from glesam.restore.base import Restorer

PROMPTS_PER_CHUNK = {"cpu": 8}
"""Objects decoded at once by device; a decoder copies latent and skips for each.

Measured with the compact model on one CPU core, 128 prompts: chunks of 8 take 24 ms a prompt, of 64 take 36 ms and
0.5 GB more, since the copies leave the caches.
"""

NEAR_SIDE = 2048
"""Longer side in pixels of what is kept of an image for nearer looks: a server keeps many images, and a crop of one has
more pixels still than the encoder looks at."""

PROMPTS_PER_GPU_CHUNK = 64
"""As many as SAM's automatic mask generator takes at once."""


class Embedder:
    """Makes the embeddings that a predictor decodes.

    Args:
        model: in evaluation mode.
        restoration: what is done for degraded images; None for the base model alone.
        restorer: turns images into better ones first; None leaves them as they are.
        cache_size: encoded images that are kept, at least 1.
        autocast: encode and enhance in bfloat16.

    Attributes:
        cache: the last images that were encoded.
        steady: what becomes of the gate's verdict on each image, where images follow from one another; None leaves it.

    Raises:
        ConfigError: a `cache_size` below 1.
    """

    def __init__(
        self,
        model: PromptableModel,
        restoration: Restoration | None = None,
        restorer: Restorer | None = None,
        cache_size: int = 3,
        autocast: bool = False,
    ) -> None:
        survive_forks()
        self.model, self.restoration, self.restorer = model, restoration, restorer
        self.cache = EncodedImages(cache_size)
        self.steady: Callable[[Verdict], Verdict] | None = None
        self._autocast, self._enhance, self._quality = autocast, "auto", "standard"
        self._restored: tuple[RGB, RGB] | None = None

    @property
    def enhance(self) -> str:
        """Mode "on", "off" or "auto".

        Raises:
            ConfigError: set to something else.
            ModelError: set to "on" without a restoration.
        """
        return self._enhance

    @enhance.setter
    def enhance(self, mode: str) -> None:
        if check_enhance(mode) == "on" and self.restoration is None:
            raise ModelError(
                'expected a model with an enhancer for enhance="on", got one without; use enhance="auto" or "off", or '
                "a model that was trained with one"
            )
        self._enhance = mode

    @property
    def quality(self) -> str:
        """Quality "fast", "standard" or "high"; images that are encoded already keep the sizes they were encoded at.

        Raises:
            ConfigError: set to something else.
        """
        return self._quality

    @quality.setter
    def quality(self, quality: str) -> None:
        self._quality = check_quality(quality)

    @property
    def chunk(self) -> int:
        """Objects to decode at once."""
        return PROMPTS_PER_CHUNK.get(self.model.device.type, PROMPTS_PER_GPU_CHUNK)

    @property
    def side(self) -> int | None:
        """Longer side of the encoder's input in pixels; None for the model's own."""
        return round(FAST * self.model.image_size) if self._quality == "fast" and self.model.side_step else None

    @property
    def keeps_images(self) -> bool:
        """Whether images are kept with their embeddings, to be looked at again; also where `enhance` forbids it now."""
        return self._quality == "high" or (self._quality == "standard" and self._nearer is not None)

    def near_rule(self, encoded: Encoded) -> LevelRule | None:
        """How small objects of an image are looked at again in crops of it; None where they are not.

        The gate is asked for the image's level, once.
        """
        nearer = self._nearer
        if nearer is None or self._quality != "standard" or self._enhance == "off":
            return None
        if encoded.image is None or encoded.side is not None:
            return None
        self.enhances(encoded, True)  # asks the gate
        rule = nearer.rule(encoded.level)
        return None if rule.near_size is None else rule

    def _is_kept(self, encoded: Encoded, image: RGB) -> bool:
        """Whether what is kept of an image is as large as the quality looks at it from near."""
        if encoded.image is None:
            return False
        size = (image.shape[0], image.shape[1])
        return encoded.image.shape[:2] == (size if self._quality == "high" else shrunk_size(size, NEAR_SIDE))

    @property
    def _nearer(self) -> Restoration | None:
        """The restoration, where its rules ask for nearer looks."""
        restoration = self.restoration
        return restoration if restoration is not None and restoration.looks_nearer else None

    def forget(self) -> None:
        """Forget all images."""
        self.cache.clear()
        self._restored = None

    def forget_restored(self) -> None:
        """Forget the last restored image: the array that it was made from may hold another image by now."""
        self._restored = None

    @torch.inference_mode()
    def encode(self, sources: Sequence[images.ImageInput], names: Sequence[str | None]) -> list[Encoded]:
        """Read images, and restore and encode together those that are not in the cache, each once.

        Raises:
            ImageError: one cannot be read.
        """
        found: dict[str, Encoded] = {}
        fresh: dict[str, tuple[Tensor, ImageGeometry]] = {}
        keys, guides, looked_at = [], {}, {}
        self.forget_restored()
        for source, name in zip(sources, names, strict=True):
            image = images.read(source)
            keys.append(key := images.content_hash(image))
            known = self.cache.get(key)
            if known is not None and known.side == self.side:
                found[key] = known
                if self.steady is not None or known.is_smoothed:
                    # Each image counts in what follows, one that was seen before too; what its level made goes along.
                    known.verdict = known.enhanced = None
            elif key not in fresh:
                better = self.restored(image, name)
                fresh[key], guides[key] = self.model.prepare(better), make_guide(better)
            if self.keeps_images and key not in looked_at and (key in fresh or not self._is_kept(found[key], image)):
                looked_at[key] = self.restored(image, name)
        for batch in same_shape(fresh):
            found |= self._encode_batch(batch, self.side)
        for key, guide in guides.items():
            found[key].guide = guide
        for key, image in looked_at.items():
            # A copy: the caller's array may hold another image by the time that this one is looked at again.
            found[key].image = (image if self._quality == "high" else shrunk(image, NEAR_SIDE)).copy()
        for key in keys:
            self.cache.put(key, found[key])
        return [found[key] for key in keys]

    def encode_part(self, part: RGB, side: int | None = None) -> Encoded:
        """Encode a part of an image, or a changed one, for one use; without a guide.

        Args:
            part: `(H, W, 3)` uint8.
            side: longer side in pixels to encode it at; None for that of the quality.
        """
        return self._encode_batch({"": self.model.prepare(np.ascontiguousarray(part))}, side or self.side)[""]

    def restored(self, image: RGB, name: str | None) -> RGB:
        """The image as the model is to see it; the last one is kept, for crops of it."""
        if self.restorer is None:
            return image
        if self._restored is None or self._restored[0] is not image:
            self._restored = image, self.restorer.restore(image, name)
        return self._restored[1]

    @torch.inference_mode()
    def embedding(self, encoded: Encoded, boxes: bool | None = None) -> Embedding:
        """The raw or the enhanced embedding of an image, as `enhance` says now.

        Args:
            encoded: the image.
            boxes: for prompts with a box, or for those without; None for any, enhanced where both kinds are.

        Raises:
            ModelError: the enhancer gives a latent of another shape.
        """
        restoration = self.restoration
        kinds = (True, False) if boxes is None else (boxes,)
        if restoration is None or not all(self.enhances(encoded, kind) for kind in kinds):
            return encoded.raw
        if encoded.enhanced is None:
            with self._precision():
                restored = restoration.restore(self.model, encoded.raw, encoded.level, encoded.pixels)
            encoded.enhanced = in_float32(restored) if self._autocast else restored
        return encoded.enhanced

    @torch.inference_mode()
    def enhances(self, encoded: Encoded, boxes: bool) -> bool:
        """Whether prompts with a box, or without one, are answered on the enhanced embedding of an image.

        The gate is asked once for each image, and only where it matters.
        """
        restoration = self.restoration
        if restoration is None or encoded.side is not None or self._enhance == "off":
            return False
        if encoded.verdict is None and (self._enhance == "auto" or restoration.needs_level):
            verdict = restoration.judge(encoded.raw, encoded.pixels)
            encoded.verdict = verdict if self.steady is None else self.steady(verdict)
            encoded.is_smoothed = self.steady is not None
        if self._enhance == "on" or encoded.verdict is None:
            return True
        return encoded.verdict.boxes if boxes else encoded.verdict.points

    def _encode_batch(self, fresh: dict[str, tuple[Tensor, ImageGeometry]], side: int | None) -> dict[str, Encoded]:
        """Run the encoder on inputs of one shape, and give each image its own part of the answer."""
        check()
        batch = torch.cat([pixels for pixels, _ in fresh.values()])
        with self._precision():
            embedding = self.model.encode(batch if side is None else shrink(batch, side, self.model.side_step))
        if self._autocast:
            embedding = in_float32(embedding)
        keeps = self.restoration is not None and self.restoration.needs_pixels
        found = {}
        for index, (key, (pixels, geometry)) in enumerate(fresh.items()):
            kept = geometry.trim(pixels) if self.model.side_step else pixels
            found[key] = Encoded(geometry, row(embedding, index, len(fresh)), pixels=kept if keeps else None, side=side)
        return found

    def _precision(self) -> torch.autocast:
        """Autocast to bfloat16 where that was asked for."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self._autocast)
