"""The image that is set, and how it is looked at: what all calls of `Predictor` share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from glesam import images
from glesam.errors import ImageError
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.masks.refine import Refiner, check_mode, make_guide
from glesam.masks.runs import Box
from glesam.models.base import Embedding, MaskOutput, PromptTensors
from glesam.predict.answers import MaskAssembly
from glesam.predict.decoding import decode_as_judged, decode_nearer, decode_well
from glesam.predict.embedder import Embedder
from glesam.predict.embeddings import Encoded, file_name
from glesam.predict.finish import refiner_for
from glesam.predict.one_way import one_way
from glesam.prompts.prompts import Prompts, cut_boxes
from glesam.views.view import View


def read_own(image: images.ImageInput) -> RGB:
    """Read an image to be kept: an array is copied, as the caller's may hold another image by the time it is looked at.

    Errors are those of `glesam.images.read`.
    """
    pixels = images.read(image)
    shared = isinstance(image, np.ndarray) and np.may_share_memory(pixels, image)
    return pixels.copy() if shared else pixels


@dataclass(frozen=True, eq=False)
class CurrentImage:
    """The image that prompts are about.

    Attributes:
        encoded: what the model made of it.
        name: what results call it.
        pixels: `(H, W, 3)` uint8 RGB as it was given; None where it was recalled by its key alone.
    """

    encoded: Encoded
    name: str | None
    pixels: RGB | None


class Session:
    """Answers prompts on encoded images, of which one is the current one.

    Args:
        embedder: encodes and enhances.
        name: what results call the model.
        refine: "auto" or "off", see `glesam.masks.refine`.

    Raises:
        ConfigError: an unknown `refine`.
    """

    def __init__(self, embedder: Embedder, name: str, refine: str = "auto") -> None:
        self.embedder, self.model, self.name, self.refine = embedder, embedder.model, name, refine
        self._current: CurrentImage | None = None
        self._digest: str | None = None

    @property
    def refine(self) -> str:
        """Mode "auto" or "off".

        Raises:
            ConfigError: set to something else.
        """
        return self._refine

    @refine.setter
    def refine(self, mode: str) -> None:
        self._refine = check_mode(mode)

    @property
    def current(self) -> CurrentImage:
        """The current image.

        Raises:
            ImageError: no image is set.
        """
        if self._current is None:
            raise ImageError("expected an image to segment, got none; call set_image(image) first")
        return self._current

    @property
    def encoded(self) -> Encoded:
        """What the model made of the current image. Errors are those of `current`."""
        return self.current.encoded

    @property
    def pixels(self) -> RGB:
        """`(H, W, 3)` uint8 RGB: the current image as the model sees it, restored where there is a restorer.

        Raises:
            ImageError: no image is set, or it was recalled without its pixels.
        """
        if self._current is None or self._current.pixels is None:
            raise ImageError("expected an image to look at in parts, got none; call set_image(image) first")
        return self.embedder.restored(self._current.pixels, self._current.name)

    def set_image(self, image: images.ImageInput, name: str | None) -> None:
        """Make an image the current one; see `Predictor.set_image`."""
        self._current = None
        pixels, name = read_own(image), file_name(image) if name is None else name
        encoded = self.embedder.encode([pixels], [name])[0]
        self.embedder.embedding(encoded)
        self._current = CurrentImage(encoded, name, pixels)

    def recall(self, key: str, pixels: RGB | None = None) -> bool:
        """Make an image of the cache the current one, with its pixels only if they are given.

        Args:
            key: the hash of its pixels, `glesam.images.content_hash`.
            pixels: `(H, W, 3)` uint8 RGB.

        Returns:
            Whether the image was in the cache; else the current image stays.
        """
        encoded = self.embedder.cache.get(key)
        if encoded is None:
            return False
        self.embedder.cache.put(key, encoded)
        self.embedder.forget_restored()
        self._current = CurrentImage(encoded, None, pixels)
        return True

    def reset(self) -> None:
        """Forget the current image, all embeddings, and the digest of the weights."""
        self.embedder.forget()
        self._current = self._digest = None

    def info(self, enhanced: bool) -> dict[str, Any]:
        """What results say of their making; `weights` is the digest of the base model and, if used, the enhancer's."""
        if self._digest is None:
            from glesam.weights.folders import state_digest

            self._digest = state_digest(self.model)
        digests, restoration, restorer = [self._digest[:16]], self.embedder.restoration, self.embedder.restorer
        if enhanced and restoration is not None and restoration.weights is not None:
            digests.append(restoration.weights[:16])
        info = {"model": self.name, "enhanced": enhanced, "weights": "+".join(digests), "refine": self._refine}
        return info if restorer is None else {**info, "restorer": f"{restorer.name}-{restorer.key}"}

    @torch.inference_mode()
    def look(self, box: Box, fine: bool = True) -> View:
        """Encode, and enhance where asked for, what lies in a box of the current image; nothing is kept.

        Args:
            box: in pixels of the image.
            fine: give masks at stride 2 where there are any.
        """
        encoded = self.encoded
        height, width = encoded.geometry.original_size
        if box != (0, 0, width, height):
            x0, y0, x1, y1 = box
            part = self.pixels[y0:y1, x0:x1]
            encoded = self.embedder.encode_part(part)
            encoded.guide = make_guide(part)
        enhanced = any(self.embedder.enhances(encoded, boxes) for boxes in (False, True))
        self.embedder.embedding(encoded)
        guide = encoded.guide if self._refine != "off" else None
        decode_here = partial(decode_as_judged, self.embedder, encoded, fine=fine)
        return View(encoded.geometry, enhanced, decode_here, guide)

    @torch.inference_mode()
    def answer(
        self,
        encoded: Encoded,
        prompts: Prompts,
        multimask: bool = False,
        name: str | None = None,
        obey: bool = False,
        refine: str | None = None,
    ) -> Masks:
        """Decode all objects of an image, group by group and chunk by chunk.

        Args:
            encoded: the image, current or not.
            prompts: of N objects, in pixels of the image.
            multimask: three candidates each.
            name: what the result calls the image.
            obey: clicks hold; they do not where they are guesses.
            refine: in place of the session's own mode.

        Raises:
            PromptError: prompts that do not fit the image.
        """
        geometry, embedder = encoded.geometry, self.embedder
        given, prompts = prompts, prompts.check(geometry.original_size, cut=self.model.cuts_boxes)
        found = MaskAssembly(len(prompts), 3 if multimask else 1, geometry.original_size)
        used = {bool(boxes): embedder.enhances(encoded, bool(boxes)) for boxes in set(prompts.has_box.tolist())}
        nearer: list[int] = []
        mode = refine or self._refine
        for indices, group in prompts.groups():
            boxes = bool(group.has_box[0])
            embedding = embedder.embedding(encoded, boxes)
            found.refiner = self._refiner(encoded, prompts, used[boxes], obey, mode)
            tensors = group.to_tensors(geometry, self.model.device)
            for places, part in tensors.chunks(embedder.chunk):
                output = self._decoded(encoded, embedding, part, multimask, obey and mode != "off")
                near = decode_nearer(embedder, encoded, prompts, indices[places], output, multimask)
                found.put(indices[places], output, geometry, near)
                nearer += near
        info = self.info(any(used.values())) | self._judged(encoded) | cut_boxes(given, prompts)
        return found.masks(name, info | ({"looked_nearer": sorted(nearer)} if nearer else {}))

    def _decoded(
        self, encoded: Encoded, embedding: Embedding, prompts: PromptTensors, multimask: bool, held: bool
    ) -> MaskOutput:
        """The model's answer; corrections of single masks may go one way alone."""
        output = decode_well(self.embedder, encoded, embedding, prompts, multimask)
        return one_way(output, prompts, self.model.image_size) if held and not multimask else output

    def _judged(self, encoded: Encoded) -> dict[str, Any]:
        """What a gate that judges by gain said of an image, where it decides."""
        verdict = encoded.verdict
        if self.embedder.enhance != "auto" or verdict is None or verdict.gains is None:
            return {}
        points, boxes = (round(gain, 4) for gain in verdict.gains)
        return {
            "enhanced_for": {"points": verdict.points, "boxes": verdict.boxes},
            "expected_gain": {"points": points, "boxes": boxes},
        }

    @staticmethod
    def _refiner(encoded: Encoded, prompts: Prompts, enhanced: bool, obey: bool, mode: str) -> Refiner | None:
        return None if mode == "off" else refiner_for(encoded, prompts, enhanced, obey)
