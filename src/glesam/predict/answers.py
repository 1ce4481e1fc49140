"""From a decoder's low-resolution answers, which come in parts and in any order, to `Masks` at the image's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glesam.errors import ModelError, PromptError
from glesam.masks.masks import Masks
from glesam.masks.refine import Refiner
from glesam.masks.runs import Box
from glesam.models.base import ImageGeometry, MaskOutput
from glesam.predict.finish import cell_of

RESTORE_FLOATS = 2**26
"""Floats (256 MiB) that enlarging masks to the image's size may hold at once, besides the bool result."""


class MaskAssembly:
    """Collects N objects with C candidates each, in any order, at the image's size.

    Attributes:
        refiner: makes the masks of what is put in from now on; None cuts the logits at 0.

    Args:
        count: N.
        candidates: C.
        size: `(H, W)` of the image.
        refiner: see above.
    """

    def __init__(self, count: int, candidates: int, size: tuple[int, int], refiner: Refiner | None = None) -> None:
        self.refiner = refiner
        self.inside: npt.NDArray[np.bool_] = np.empty((count, candidates, *size), bool)
        self.scores: npt.NDArray[np.float32] = np.empty((count, candidates), np.float32)
        self.logits: npt.NDArray[np.float32] | None = None
        """`(N, C, h, w)`, once there are some."""

    def put(
        self,
        indices: npt.NDArray[np.int64],
        output: MaskOutput,
        geometry: ImageGeometry,
        nearer: Mapping[int, tuple[Box, Tensor]] | None = None,
    ) -> None:
        """Store the answers for some objects.

        Args:
            indices: `(n,)` places of these objects among all.
            output: the answers to n prompts on one image.
            geometry: how the image lies in the model's square.
            nearer: by object, a crop that was looked at again and its `(C, h, w)` logits at the crop's size, which are
                averaged with these.

        Raises:
            ModelError: another number of candidates than was asked for.
        """
        logits, scores = output.low_res_logits[0], output.iou[0]
        if logits.shape[1] != self.scores.shape[1]:
            raise ModelError(
                f"expected {self.scores.shape[1]} candidates from the mask decoder, got {logits.shape[1]}; "
                "the model does not keep the interface"
            )
        self.scores[indices] = scores.float().cpu().numpy()
        if self.logits is None:
            self.logits = np.empty((*self.scores.shape, *logits.shape[-2:]), np.float32)
        kept = logits.float().cpu().numpy()
        self.logits[indices] = kept if geometry.limit is None else kept.clip(-geometry.limit, geometry.limit)
        self._enlarge(indices, output.finest[0], geometry, nearer or {})

    def _enlarge(
        self,
        indices: npt.NDArray[np.int64],
        logits: Tensor,
        geometry: ImageGeometry,
        nearer: Mapping[int, tuple[Box, Tensor]],
    ) -> None:
        """Bring `(n, C, h, w)` logits to the image's size and cut them at 0, a few masks at a time."""
        (height, width), side = geometry.original_size, geometry.image_size
        step = max(1, RESTORE_FLOATS // (height * width + side * side))
        if self.refiner is not None:
            self.refiner = replace(self.refiner, cell=cell_of(geometry, logits.shape[-1]))
        flat = logits.flatten(0, 1)
        rows, columns = np.divmod(np.arange(len(flat)), logits.shape[1])
        for start in range(0, len(flat), step):
            part = slice(start, start + step)
            enlarged = geometry.restore(flat[part, None])[:, 0]
            objects = indices[rows[part]]
            for each, index, candidate in zip(enlarged, objects.tolist(), columns[part].tolist(), strict=True):
                if index in nearer:
                    (x0, y0, x1, y1), near = nearer[index]
                    each[y0:y1, x0:x1].add_(near[candidate]).div_(2)
            self.inside[objects, columns[part]] = self._cut(enlarged, objects)

    def _cut(self, enlarged: Tensor, objects: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Masks of `(n, H, W)` logits."""
        if self.refiner is None:
            return np.asarray((enlarged > 0).cpu().numpy(), bool)
        pairs = zip(enlarged.cpu().numpy(), objects.tolist(), strict=True)
        return np.stack([self.refiner.cut(logits, index) for logits, index in pairs])

    def masks(self, name: str | None, info: dict[str, Any]) -> Masks:
        """Give the result; of several candidates the best by score is the mask.

        Raises:
            PromptError: nothing was put in.
        """
        count, candidates = self.scores.shape
        if self.logits is None:
            raise PromptError("expected at least one object, got none; give a point or a box")
        if candidates == 1:
            return Masks(self.inside[:, 0], self.scores[:, 0], self.logits[:, 0], name=name, info=info)
        rows, best = np.arange(count), self.scores.argmax(axis=1)
        return Masks(
            self.inside[rows, best],
            self.scores[rows, best],
            self.logits[rows, best],
            self.inside,
            self.scores,
            name,
            info,
            candidate_logits=self.logits,
        )
