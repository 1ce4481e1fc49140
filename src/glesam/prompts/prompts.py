"""Prompts: what the user points at, checked, in pixels of the user's image, several objects at once.

`Prompts` never mixes objects: `points` of shape `(K, 2)` are K clicks on one object, `boxes` are one object each.
The command line's texts are read by `parse_point` and `parse_box`, files by `read_prompts_file`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float, Int
from glesam.errors import PromptError
from glesam.prompts.arrays import PADDING_LABEL, box_rows, label_lists, mask_stack, numbers, pad, point_lists
from glesam.prompts.names import refuse
from glesam.prompts.texts import parse_box, parse_point

if TYPE_CHECKING:
    import torch

    from glesam.models.base import ImageGeometry, PromptTensors

__all__ = ["PADDING_LABEL", "Prompts", "parse_box", "parse_point"]

MASK_STRIDE = 4
"""Pixels of the model's square input per pixel of a mask input, in each direction (SAM, SAM 2, compact)."""


@dataclass(frozen=True, init=False, eq=False)
class Prompts:
    """Points, boxes and mask inputs for N objects of one image.

    Args:
        points: `(K, 2)` `(x, y)` for one object, `(N, K, 2)` for N, or a ragged list of N lists (empty: no points).
        labels: 1 foreground, 0 background, in the layout of `points`; all 1 when not given; -1 marks padding.
        boxes: `(4,)` or `(N, 4)` `(x0, y0, x1, y1)`; in a list, None is an object without a box.
        mask_input: `(h, w)` or `(N, h, w)` float logits of an earlier prediction (`Masks.logits`).
        **unknown: refused with the name that was meant, also where it is segment-anything's.

    Points, boxes and mask inputs given together describe the same objects, so their N must agree.

    Attributes:
        points: `(N, K, 2)` float32, K the largest number of points, or None. Padding is at the end of a row.
        labels: `(N, K)` int64, padding -1, or None exactly if `points` is.
        boxes: `(N, 4)` float32, or None. An object without a box is a row of NaN; `groups` separates these.
        mask_input: `(N, h, w)` float32, or None.

    Raises:
        PromptError: nothing given, numbers that do not fit together, NaN, infinite, a negative point, an empty box.
    """

    points: Float | None
    labels: Int | None
    boxes: Float | None
    mask_input: Float | None

    def __init__(
        self, points: Any = None, labels: Any = None, boxes: Any = None, mask_input: Any = None, **unknown: Any
    ) -> None:
        if unknown:
            raise refuse(unknown, ("points", "labels", "boxes", "mask_input"), "Prompts")
        if points is None and labels is not None:
            raise PromptError("expected points beside labels, got labels alone; give points=[[x, y], ...] too")
        coords, values = None, None
        if points is not None:
            lists, single = point_lists(points)
            coords, values = pad(lists, label_lists(labels, lists, single))
            if not coords.size:
                coords, values = None, None
        rows = None if boxes is None else box_rows(boxes)
        masks = None if mask_input is None else mask_stack(mask_input)
        for name, array in (("points", coords), ("labels", values), ("boxes", rows), ("mask_input", masks)):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_objects()

    def _check_objects(self) -> None:
        """Equal N everywhere, and something for every object."""
        given = {k: v.shape for k in ("points", "boxes", "mask_input") if (v := getattr(self, k)) is not None}
        if not given:
            raise PromptError("expected points, boxes or a mask input, got none; give at least one, such as [[x, y]]")
        if len({shape[0] for shape in given.values()}) > 1:
            shapes = ", ".join(f"{name} {shape}" for name, shape in given.items())
            raise PromptError(
                f"expected as many objects in each, got {shapes}; for N boxes give points as N lists, one per box"
            )
        if self.mask_input is None and not (self.point_counts + self.has_box).all():
            index = int(np.flatnonzero((self.point_counts + self.has_box) == 0)[0])
            raise PromptError(f"expected a point or a box for every object, got none for object {index}; leave it out")

    def __len__(self) -> int:
        """Number of objects N."""
        return len(next(a for a in (self.points, self.boxes, self.mask_input) if a is not None))

    def __eq__(self, other: object) -> bool:
        """Equal arrays."""
        if not isinstance(other, Prompts):
            return NotImplemented
        pairs = [(getattr(self, k), getattr(other, k)) for k in ("points", "labels", "boxes", "mask_input")]
        return all(a is b or (a is not None and b is not None and np.array_equal(a, b, True)) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def point_counts(self) -> Int:
        """`(N,)` int64: number of real points of each object."""
        if self.labels is None:
            return np.zeros(len(self), np.int64)
        return np.asarray(np.count_nonzero(self.labels != PADDING_LABEL, axis=1), np.int64)

    @property
    def has_box(self) -> npt.NDArray[np.bool_]:
        """`(N,)` bool: which objects have a box."""
        return np.zeros(len(self), bool) if self.boxes is None else ~np.isnan(self.boxes[:, 0])

    def check(self, size: tuple[int, int], cut: bool = True) -> Prompts:
        """Fit the prompts to an image.

        A point outside is an error: it can only be a mistake. A box may reach over the edge, since detectors and hands
        overshoot; a box wholly outside is an error.

        Args:
            size: `(H, W)` of the image. Points must lie in `0 <= x < W`, `0 <= y < H`; boxes end at `W` and `H`.
            cut: whether to cut boxes at the edges, as the compact model needs it; SAM and SAM 2 take them as given.

        Returns:
            The prompts, with boxes cut if asked for; itself if nothing was to be cut.

        Raises:
            PromptError: a point or a whole box lies outside.
        """
        height, width = size
        if self.points is not None and self.labels is not None:
            outside = (self.labels != PADDING_LABEL) & (self.points >= (width, height)).any(axis=2)
            if outside.any():
                first = numbers(self.points[outside][0])
                raise PromptError(
                    f"expected points inside the image of {width}x{height} pixels, got {first}; "
                    f"give x below {width} and y below {height}"
                )
        if self.boxes is None:
            return self
        inside = _cut(self.boxes, width, height)
        return self._with_boxes(inside) if cut else self

    def _with_boxes(self, boxes: Float) -> Prompts:
        """Replace boxes that are known to be good."""
        if np.array_equal(boxes, self.boxes if self.boxes is not None else (), True):
            return self
        copy = object.__new__(Prompts)
        for name in ("points", "labels", "mask_input"):
            object.__setattr__(copy, name, getattr(self, name))
        boxes.setflags(write=False)
        object.__setattr__(copy, "boxes", boxes)
        return copy

    def select(self, indices: Sequence[int] | npt.NDArray[Any] | slice) -> Prompts:
        """Take some objects, in the order of `indices`; padding that is no longer needed goes.

        Raises:
            PromptError: an index is out of range, or none is given.
        """
        try:
            chosen = np.arange(len(self))[indices if isinstance(indices, slice) else np.asarray(indices)]
        except IndexError as error:
            raise PromptError(
                f"expected indices below {len(self)}, got {indices}; take 0 to {len(self) - 1}"
            ) from error
        if chosen.ndim != 1 or not len(chosen):
            raise PromptError(f"expected a list of at least one index, got {indices}; name an object")
        boxes = None
        if self.boxes is not None and self.has_box[chosen].any():
            boxes = [
                row if known else None for row, known in zip(self.boxes[chosen], self.has_box[chosen], strict=True)
            ]
        points = None if self.points is None else self.points[chosen]
        labels = None if self.labels is None else self.labels[chosen]
        return Prompts(points, labels, boxes, None if self.mask_input is None else self.mask_input[chosen])

    def groups(self) -> list[tuple[Int, Prompts]]:
        """Split into objects of equal make: as many points each, all with or all without a box.

        A padded point is not nothing to a model: it has an embedding, and so changes the masks. Within a group there is
        no padding, so that objects predicted together give what each gives alone.

        Returns:
            Pairs of indices `(n,)` int64 into these prompts and the group; few points first.
        """
        make = 2 * self.point_counts + self.has_box
        members = [np.flatnonzero(make == key).astype(np.int64) for key in np.unique(make)]
        return [(indices, self.select(indices)) for indices in members]

    def to_tensors(
        self, geometry: ImageGeometry, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> PromptTensors:
        """Move to the model's input frame, with a leading axis for the one image.

        Args:
            geometry: how the image lies in the model's square.
            device: where the tensors go.
            dtype: of the mask input, float32 when not given. Coordinates stay float32: bfloat16 has 8 significant bits,
                which would move points by up to 2 of 1024 pixels.

        Raises:
            PromptError: the mask input is not a quarter of the square in size, or only some objects have a box (split
                by `groups` first).
        """
        import torch

        from glesam.models.base import PromptTensors

        self._check_tensors(geometry)

        def moved(array: npt.NDArray[Any] | None, kind: torch.dtype) -> torch.Tensor | None:
            return None if array is None else torch.tensor(array, dtype=kind, device=device)[None]

        points, boxes = moved(self.points, torch.float32), moved(self.boxes, torch.float32)
        return PromptTensors(
            point_coords=None if points is None else geometry.to_input(points),
            point_labels=moved(self.labels, torch.int64),
            boxes=None if boxes is None else geometry.to_input(boxes.reshape(1, -1, 2, 2)).flatten(-2),
            mask_input=moved(self.mask_input, dtype or torch.float32),
        )

    def _check_tensors(self, geometry: ImageGeometry) -> None:
        """What a model cannot take."""
        side = geometry.image_size // MASK_STRIDE
        if self.mask_input is not None and self.mask_input.shape[1:] != (side, side):
            height, width = self.mask_input.shape[1:]
            raise PromptError(
                f"expected a mask input of {side}x{side} for this model, got {width}x{height}; pass masks.logits of an "
                "earlier prediction of the same model"
            )
        if self.boxes is not None and not self.has_box.all():
            raise PromptError(
                "expected a box for every object or for none, got a mixture; split the prompts by groups()"
            )


def _cut(boxes: Float, width: int, height: int) -> Float:
    """Cut boxes at the image's edges; rows of NaN stay."""
    cut = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    outside = (cut[:, 2] <= cut[:, 0]) | (cut[:, 3] <= cut[:, 1])
    if outside.any():
        raise PromptError(
            f"expected boxes that touch the image of {width}x{height} pixels, got {numbers(boxes[outside][0])}; "
            "give x0, y0, x1, y1 in pixels of this image"
        )
    return cut


def cut_boxes(given: Prompts, used: Prompts) -> dict[str, Any]:
    """What results say where boxes were cut at the image's edge: the numbers of these objects, from 0."""
    if used is given or given.boxes is None or used.boxes is None:
        return {}
    cut = given.has_box & (given.boxes != used.boxes).any(axis=1)
    return {"cut_boxes": np.flatnonzero(cut).tolist()}
