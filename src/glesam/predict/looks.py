"""The part of `Predictor` that looks at an image in several ways, as its quality says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam import images
from glesam.enhance.pipeline import Restoration, shrink
from glesam.images.pixels import RGB
from glesam.masks.runs import Box
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.predict.embeddings import Encoded
from glesam.predict.finish import cell_of
from glesam.predict.quality import (
    COARSE,
    FAST,
    check_quality,
    mean_output,
    mirrored_output,
    mirrored_prompts,
    moved_into,
    zoom_window,
)
from glesam.prompts.prompts import Prompts
from glesam.views.enlarge import mask_boxes


class Looks:
    """What `Predictor.quality` changes; see `glesam.predict.quality`."""

    if TYPE_CHECKING:
        model: PromptableModel
        _encode_fresh: Callable[[dict[str, tuple[Tensor, ImageGeometry]]], dict[str, Encoded]]
        _embedding: Callable[[Encoded], Embedding]
        _decode: Callable[[Embedding, Encoded, PromptTensors, bool], MaskOutput]
        _better: Callable[[RGB, str | None], RGB]

    _quality = "standard"

    @property
    def quality(self) -> str:
        """Quality "fast", "standard" or "high"; a change holds for images that are set from then on."""
        return self._quality

    @quality.setter
    def quality(self, quality: str) -> None:
        self._quality = check_quality(quality)

    @property
    def _side(self) -> int | None:
        """Longer side of the encoder's input; None for the model's own."""
        return round(FAST * self.model.image_size) if self._quality == "fast" and self.model.side_step else None

    def _keep_images(
        self,
        found: dict[str, Encoded],
        keys: Sequence[str],
        sources: Sequence[images.ImageInput],
        names: Sequence[str | None],
    ) -> None:
        """Keep the pixels of encoded images, for further looks."""
        for key, source, name in zip(keys, sources, names, strict=True):
            if found[key].image is None:
                found[key].image = self._better(images.read(source), name)

    @torch.inference_mode()
    def _decode_well(
        self, embedding: Embedding, encoded: Encoded, prompts: PromptTensors, multimask: bool
    ) -> MaskOutput:
        """Decode; with high quality the mean over the image, its mirror image and, unless restored, a smaller copy."""
        output = self._decode(embedding, encoded, prompts, multimask)
        if self._quality != "high" or encoded.image is None:
            return output
        mirror = encoded.looks.get("mirror") or self._encode_part(encoded.image[:, ::-1])
        mirror.verdict = encoded.verdict
        encoded.looks["mirror"] = mirror
        turned = self._decode(self._embedding(mirror), mirror, mirrored_prompts(prompts, encoded.geometry), multimask)
        outputs = [output, mirrored_output(turned, encoded.geometry)]
        if embedding is encoded.raw and self.model.side_step:
            if "coarse" not in encoded.looks:
                pixels = shrink(
                    self.model.prepare(encoded.image)[0], round(COARSE * self.model.image_size), self.model.side_step
                )
                encoded.looks["coarse"] = self.model.encode(pixels)
            outputs.append(Restoration().decode(self.model, encoded.looks["coarse"], prompts, multimask))
        return mean_output(outputs)

    def _encode_part(self, part: RGB) -> Encoded:
        """Encode a part of an image, or a changed one, for one use."""
        return self._encode_fresh({"": self.model.prepare(np.ascontiguousarray(part))})[""]

    def _nearer(
        self, encoded: Encoded, prompts: Prompts, indices: npt.NDArray[np.int64], output: MaskOutput, multimask: bool
    ) -> dict[int, tuple[Box, Tensor]]:
        """With high quality, logits of crops around small objects; see `MaskAssembly.put`."""
        found: dict[int, tuple[Box, Tensor]] = {}
        if self._quality != "high" or encoded.image is None:
            return found
        cell = cell_of(encoded.geometry, output.low_res_logits.shape[-1])
        for place, index in enumerate(indices.tolist()):
            low = output.low_res_logits[0, place, int(output.iou[0, place].argmax())]
            x0, y0, x1, y1 = (cell * side for side in mask_boxes(low[None])[0].tolist())
            prompt = prompts.select([index])
            window = zoom_window(prompt, (x0, y0, x1, y1) if x1 else None, encoded.geometry.original_size)
            if window is not None:
                part = self._encode_part(encoded.image[window[1] : window[3], window[0] : window[2]])
                part.verdict = encoded.verdict
                tensors = moved_into(prompt, window).to_tensors(part.geometry, self.model.device)
                answer = self._decode(self._embedding(part), part, tensors, multimask)
                found[index] = window, part.geometry.restore(answer.finest[0, 0][:, None])[:, 0]
        return found

    def _coarse(self, encoded: Encoded, image: RGB) -> Embedding:
        """The embedding of a smaller copy of an image, encoded once."""
        if "coarse" not in encoded.looks:
            pixels, _ = self.model.prepare(image)
            side = round(COARSE * self.model.image_size)
            encoded.looks["coarse"] = self.model.encode(shrink(pixels, side, self.model.side_step))
        coarse: Embedding = encoded.looks["coarse"]
        return coarse
