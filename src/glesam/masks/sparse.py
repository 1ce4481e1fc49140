"""`SparseMasks`: masks that stay runs until someone asks for pixels, so that many of a big image fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from glesam.errors import DataError
from glesam.masks.amodal import absent, entry
from glesam.masks.facts import renumbered
from glesam.masks.formats import category_ids
from glesam.masks.masks import Masks
from glesam.masks.rle import runs_to_text
from glesam.masks.runs import RunMask

EXPAND_LIMIT = 2**30
"""Bytes (1 GiB) up to which `SparseMasks.masks` is expanded: 89 masks of 12 million pixels, 2,700 of 400,000."""


class SparseMasks(Masks):
    """N masks of one image of `(H, W)` pixels, kept as runs.

    All that `Masks` offers works one mask at a time. Only the `masks` attribute needs all at once: it is expanded when
    it is first read, up to `EXPAND_LIMIT` bytes. There are no low-resolution logits: masks are cleaned and merged.

    Args:
        runs: N masks of one image.
        scores: `(N,)` predicted IoU.
        size: `(H, W)` of the image.
        details: for each mask further keys for `to_coco`, plain JSON values; None for none.
        name: what the image is called, or None.
        info: what made the masks.
        candidates: for each mask the C candidates of a multimask prediction and their predicted IoU, or None.

    Raises:
        DataError: scores, details or candidates that do not fit.
    """

    runs: tuple[RunMask, ...]
    details: tuple[dict[str, Any], ...]

    def __init__(
        self,
        runs: Sequence[RunMask],
        scores: npt.ArrayLike,
        size: tuple[int, int],
        details: Sequence[dict[str, Any]] | None = None,
        name: str | None = None,
        info: dict[str, Any] | None = None,
        candidates: Sequence[Sequence[tuple[RunMask, float]]] | None = None,
    ) -> None:
        values = np.asarray(scores, np.float32).reshape(-1)
        extra = [{}] * len(runs) if details is None else list(details)
        if not len(runs) == len(values) == len(extra) or not np.isfinite(values).all():
            raise DataError(
                f"expected a finite score and details for each of {len(runs)} masks, got {len(values)} scores and "
                f"{len(extra)} details; give one each"
            )
        fields: dict[str, Any] = {
            "runs": tuple(runs),
            "scores": values,
            "details": tuple(extra),
            "_size": size,
            "_masks": None,
            "_whole": None,
        }
        if candidates is not None and (len(candidates) != len(runs) or len({len(each) for each in candidates}) > 1):
            raise DataError(f"expected as many candidates for each of {len(runs)} masks, got others; give as many each")
        ratings = None if candidates is None else np.array([[s for _, s in each] for each in candidates], np.float32)
        fields |= {"logits": np.zeros((len(runs), 0, 0), np.float32), "candidate_scores": ratings}
        fields["_candidates"] = None if candidates is None else [[mask for mask, _ in each] for each in candidates]
        fields["class_names"] = ()
        for key, value in (fields | {"name": name, "info": info or {}}).items():
            object.__setattr__(self, key, value)

    def pick(self, choice: int | Sequence[int]) -> SparseMasks:
        """See `Masks.pick`; there are no logits to continue from."""
        chosen, scores = self._chosen(choice)
        every: list[list[RunMask]] = self.__dict__["_candidates"]
        runs = tuple(each[index] for each, index in zip(every, chosen.tolist(), strict=True))
        return self._with(runs=runs, scores=scores, _masks=None, _whole=None)

    def with_whole(self, runs: Sequence[RunMask]) -> Self:
        """The same masks with their whole objects, one for each.

        Raises:
            DataError: another number of them.
        """
        if len(runs) != len(self):
            raise DataError(f"expected whole objects of {len(self)} masks, got {len(runs)}; give one each")
        return self._with(_whole=tuple(runs))

    @property
    def amodal(self) -> npt.NDArray[np.bool_] | None:
        """`(N, H, W)` bool, expanded at each call, or None; see `whole` for them as runs.

        Raises:
            DataError: as `masks`.
        """
        return None if self.__dict__["_whole"] is None else self.whole.masks

    @property
    def whole(self) -> SparseMasks:
        """See `Masks.whole`; as runs."""
        runs: tuple[RunMask, ...] | None = self.__dict__["_whole"]
        if runs is None:
            raise absent()
        return SparseMasks(runs, self.scores, self.size, None, self.name, self.info)._with(class_names=self.class_names)

    @property
    def has_whole(self) -> bool:
        """See `Masks.has_whole`."""
        return self.__dict__["_whole"] is not None

    def __len__(self) -> int:
        """Number of masks N."""
        return len(self.runs)

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """`(N, H, W)` bool, expanded at the first time.

        Raises:
            DataError: they would take more than `EXPAND_LIMIT` bytes; `mask`, `crop` and all outputs work all the same.
        """
        stack: npt.NDArray[np.bool_] | None = self.__dict__["_masks"]
        if stack is None:
            self._check_limit()
            stack = np.zeros((len(self), *self.size), bool)
            for index, runs in enumerate(self.runs):
                stack[index] = runs.to_array()
            object.__setattr__(self, "_masks", stack)
        return stack

    @property
    def candidates(self) -> npt.NDArray[np.bool_] | None:
        """`(N, C, H, W)` bool, expanded at each call, or None.

        Raises:
            DataError: as `masks`.
        """
        runs: list[list[RunMask]] | None = self.__dict__["_candidates"]
        if runs is None:
            return None
        self._check_limit(sum(map(len, runs)))
        stack = np.zeros((len(self), len(runs[0]) if runs else 0, *self.size), bool)
        for index, each in enumerate(runs):
            for number, mask in enumerate(each):
                stack[index, number] = mask.to_array()
        return stack

    def _check_limit(self, count: int | None = None) -> None:
        """Refuse to fill the memory."""
        (height, width), count = self.size, len(self) if count is None else count
        if count * height * width > EXPAND_LIMIT:
            raise DataError(
                f"expected masks of at most {EXPAND_LIMIT // 2**20} MiB together, got {count} of {width}x{height} "
                f"pixels ({count * height * width // 2**20} MiB); take them one by one with mask(i), or use to_coco()"
            )

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` of the image in pixels."""
        size: tuple[int, int] = self.__dict__["_size"]
        return size

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """`(N,)` int64: pixels in each mask."""
        return np.array([runs.area for runs in self.runs], np.int64)

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """`(N, 4)` float32 `(x0, y0, x1, y1)`: edges of the pixels; zeros if empty."""
        return np.array([runs.box for runs in self.runs], np.float32).reshape(-1, 4)

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """One mask, `(H, W)` bool."""
        return self.runs[index].to_array()

    def crop(self, index: int) -> tuple[tuple[int, int, int, int], npt.NDArray[np.bool_]]:
        """Box of one mask, and the mask within it, `(y1 - y0, x1 - x0)` bool."""
        box = self.runs[index].box
        return box, self.runs[index].to_array(box)

    def _take(self, indices: list[int]) -> Self:
        """The objects of some indices, still as runs."""
        candidates: list[list[RunMask]] | None = self.__dict__["_candidates"]
        ratings: npt.NDArray[np.float32] | None = self.candidate_scores
        whole: tuple[RunMask, ...] | None = self.__dict__["_whole"]
        fields: dict[str, Any] = {
            "runs": tuple(self.runs[index] for index in indices),
            "details": tuple(self.details[index] for index in indices),
            "scores": self.scores[indices],
            "logits": self.logits[indices],
            "candidate_scores": None if ratings is None else ratings[indices],
            "class_names": tuple(self.class_names[index] for index in indices) if self.class_names else (),
            "info": renumbered(self.info, indices),
            "_masks": None,
            "_whole": None if whole is None else tuple(whole[index] for index in indices),
            "_candidates": None if candidates is None else [candidates[index] for index in indices],
        }
        return self._with(**fields)

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations as `Masks.to_coco` gives them, with the keys of segment-anything where they are known.

        From everything mode these are `stability_score`, `point_coords` `[[x, y]]` and `crop_box`, which is xywh.
        """
        ids = category_ids(self, category_id)
        return [
            self._annotation(index) | {"image_id": image_id, "category_id": ids[index]} for index in range(len(self))
        ]

    def _annotation(self, index: int) -> dict[str, Any]:
        """One annotation; the run-length text comes from the runs, without any pixels."""
        runs, score = self.runs[index], float(str(self.scores[index]))
        x0, y0, x1, y1 = runs.box
        return {
            "id": index + 1,
            "iscrowd": 0,
            "segmentation": {"size": list(self.size), "counts": runs_to_text(runs.to_rle())},
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": runs.area,
            "score": score,
            "predicted_iou": score,
            **self._amodal(index),
            **self.details[index],
        }

    def _amodal(self, index: int) -> dict[str, Any]:
        """The keys of the whole object, as `Masks.to_coco` has them; none where it is not known."""
        whole: tuple[RunMask, ...] | None = self.__dict__["_whole"]
        if whole is None:
            return {}
        code = {"size": list(self.size), "counts": runs_to_text(whole[index].to_rle())}
        return entry(code, whole[index].area, whole[index].intersection(self.runs[index]))
