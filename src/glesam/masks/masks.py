"""`Masks`: the one result type, at the size of the user's image, with its ways out.

Formats live in `glesam.masks.formats`, drawing in `glesam.draw.overlay`, outlines in `glesam.masks.polygons`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glesam.common.boxes import pixel_box
from glesam.errors import DataError
from glesam.masks.amodal import absent
from glesam.masks.facts import renumbered

if TYPE_CHECKING:
    from typing import Self

    from PIL import Image

    from glesam.images.reading import ImageInput
    from glesam.masks.polygons import Ring


def _no_logits() -> npt.NDArray[np.float32]:
    """Logits of masks that no model made."""
    return np.zeros((0, 0, 0), np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """N masks of one image of `(H, W)` pixels.

    `len(masks)` is N; `masks[i]`, slices, lists of indices and arrays of truth values pick objects, as `Masks` again,
    and a loop goes through them one by one. `numpy.asarray(masks)` is the stack `(N, H, W)`. Notebooks show them.

    Attributes:
        masks: `(N, H, W)` bool.
        scores: `(N,)` float32, predicted IoU.
        logits: `(N, h, w)` float32, low-resolution, above 0 inside; goes back in as `Prompts(mask_input=...)`.
            `(N, 0, 0)` where no model made the masks, as after `from_coco`.
        candidates: `(N, C, H, W)` bool, the C = 3 candidates of a multimask prediction, or None.
        candidate_scores: `(N, C)` float32, or None exactly if `candidates` is.
        name: what the image is called, or None.
        info: what made the masks (model id, hash of weights, seed, ...); plain JSON values, written to every output.
        class_names: N names of the objects' classes, written to every output; empty where nobody named them.
        candidate_logits: `(N, C, h, w)` float32 of the candidates, or None; see `pick`.
        amodal: `(N, H, W)` bool, the whole objects, each around its mask, or None; see `Predictor.complete`.

    Raises:
        DataError: a shape or dtype that does not fit, naming it.
    """

    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] = field(default_factory=_no_logits)
    candidates: npt.NDArray[np.bool_] | None = None
    candidate_scores: npt.NDArray[np.float32] | None = None
    name: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    candidate_logits: npt.NDArray[np.float32] | None = None
    amodal: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        count, size = _check_masks(self.masks)
        if np.size(self.logits) == 0:
            object.__setattr__(self, "logits", np.zeros((count, 0, 0), np.float32))
        _set_float(self, "scores", (count,))
        if not np.isfinite(self.scores).all():
            raise DataError(f"expected finite scores, got {self.scores}; the model's numbers have gone wrong")
        _set_float(self, "logits", (count, None, None))
        if (self.candidates is None) != (self.candidate_scores is None):
            raise DataError("expected candidates and candidate_scores together, got one of them; give both or none")
        if self.candidates is not None:
            _expect(self.candidates, "candidates", (count, None, *size), "bool")
            _set_float(self, "candidate_scores", self.candidates.shape[:2])
        if self.candidate_logits is not None:
            shape = (None, None) if self.candidates is None else self.candidates.shape[:2]
            _set_float(self, "candidate_logits", (*shape, None, None))
        if self.amodal is not None:
            _expect(self.amodal, "amodal", (count, *size), "bool")
        _check_names(self.class_names, count)

    def __len__(self) -> int:
        """Number of masks N."""
        return len(self.masks)

    def __repr__(self) -> str:
        """Number, size, scores and name in a line; not the pixels."""
        (height, width), some = self.size, 5
        scores = " ".join(f"{score:.2f}" for score in self.scores[:some]) + (" ..." if len(self) > some else "")
        number = f"{len(self)} {'mask' if len(self) == 1 else 'masks'}"
        rated = f", scores {scores}" if len(self) else ""
        return f"{type(self).__name__}({number} of {width}x{height} pixels{rated}, name={self.name!r})"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the masks in their colours, at most 512 pixels wide or high."""
        from glesam.masks import formats as results_formats

        return results_formats.preview(self)

    def __getitem__(self, key: int | slice | Sequence[int] | npt.NDArray[Any]) -> Self:
        """Some of the objects, with all that belongs to them.

        Args:
            key: index from 0, or from the end if negative; a slice; indices; or `(N,)` bool.

        Raises:
            IndexError: there is no such mask.
        """
        return self._take(np.atleast_1d(np.arange(len(self))[key]).tolist())

    def __iter__(self) -> Iterator[Self]:
        """The objects one by one, each as `Masks` of one."""
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The stack of masks, `(N, H, W)` bool unless another type is asked for."""
        stack = np.asarray(self.masks, dtype)
        return stack.copy() if copy else stack

    def _take(self, indices: list[int]) -> Self:
        """The objects of some indices."""
        fields = ("masks", "scores", "logits", "candidates", "candidate_scores", "candidate_logits", "amodal")
        arrays = {name: array[indices] for name in fields if (array := getattr(self, name)) is not None}
        names = tuple(self.class_names[index] for index in indices) if self.class_names else ()
        return replace(self, **arrays, class_names=names, info=renumbered(self.info, indices))

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` of the image in pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """`(N,)` int64: pixels in each mask."""
        return np.array([np.count_nonzero(mask) for mask in self.masks], np.int64)

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """`(N, 4)` float32 `(x0, y0, x1, y1)`: edges of the pixels, so that `x1 - x0` is the width; zeros if empty."""
        return np.array([_box(mask) for mask in self.masks], np.float32).reshape(-1, 4)

    @property
    def paint_order(self) -> npt.NDArray[np.int64]:
        """`(N,)` int64: indices from the largest mask to the smallest, so that small ones end on top."""
        return np.argsort(-self.areas, kind="stable").astype(np.int64)

    @property
    def whole(self) -> Masks:
        """The whole objects as masks, to be drawn, measured and saved like others; DataError where there are none."""
        if self.amodal is None:
            raise absent()
        return Masks(self.amodal, self.scores, name=self.name, info=self.info, class_names=self.class_names)

    @property
    def has_whole(self) -> bool:
        """Whether `whole` and `hidden` are known."""
        return self.amodal is not None

    @property
    def hidden(self) -> npt.NDArray[np.bool_]:
        """`(N, H, W)` bool: what of each whole object is not seen; DataError as `whole`."""
        return np.asarray(self.whole.masks & ~self.masks)

    def described(self, name: str | None, info: dict[str, Any]) -> Self:
        """The same masks with a name and facts of their making; see the class."""
        return self._with(name=name, info=info)

    def _with(self, **values: Any) -> Self:
        """A copy with other values of some attributes, which fit: nothing is checked or converted again."""
        found = copy(self)
        for key, value in values.items():
            object.__setattr__(found, key, value)
        return found

    def named(self, class_names: Sequence[str]) -> Masks:
        """The same masks with the names of their classes.

        Raises:
            DataError: not one name for each mask.
        """
        _check_names(class_names, len(self))
        return self._with(class_names=tuple(class_names))

    def pick(self, choice: int | Sequence[int]) -> Masks:
        """The same objects with other candidates as their masks, such as a person chose them.

        Mask, score and logits are those of the candidate; `predict(..., start=masks.pick(2))` continues from there.

        Args:
            choice: index of the candidate, one for all objects or one for each.

        Raises:
            DataError: there are no candidates, or none of that number.
        """
        chosen, scores = self._chosen(choice)
        rows, candidates = np.arange(len(self)), np.asarray(self.candidates)
        logits = self.logits if self.candidate_logits is None else self.candidate_logits[rows, chosen]
        return replace(self, masks=candidates[rows, chosen], scores=scores, logits=logits, amodal=None)

    def _chosen(self, choice: int | Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Index of a candidate for each object, and its score."""
        if self.candidate_scores is None:
            raise DataError("expected masks with candidates, got none; predict with multimask=True")
        chosen, count = np.asarray(choice), self.candidate_scores.shape[1]
        fits = chosen.shape in ((), (len(self),)) and chosen.dtype.kind in "iu"
        if not fits or ((chosen < 0) | (chosen >= count)).any():
            raise DataError(f"expected candidates of 0 to {count - 1}, one or one an object, got {choice}")
        each = np.broadcast_to(chosen, len(self)).astype(np.int64)
        return each, self.candidate_scores[np.arange(len(self)), each]

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """One mask, `(H, W)` bool."""
        return np.asarray(self.masks[index], bool)

    def crop(self, index: int) -> tuple[tuple[int, int, int, int], npt.NDArray[np.bool_]]:
        """Box `(x0, y0, x1, y1)` of one mask, and the mask within it, `(y1 - y0, x1 - x0)` bool."""
        x0, y0, x1, y1 = _box(self.masks[index])
        return (x0, y0, x1, y1), self.masks[index, y0:y1, x0:x1]

    def to_labels(self) -> npt.NDArray[np.int32]:
        """Ids per pixel: `(H, W)` int32, 0 outside, `i + 1` in mask `i`.

        Where masks overlap, the smaller one has the pixel (of two of equal area the later), so that a part is not
        hidden by its whole. Overlaps are lost here; COCO JSON and npz keep them.
        """
        labels = np.zeros(self.size, np.int32)
        self.paint(labels)
        return labels

    def paint(self, labels: npt.NDArray[Any]) -> None:
        """Write the ids of `to_labels` into an `(H, W)` array of any type of integers, in place."""
        for index in self.paint_order.tolist():
            (x0, y0, x1, y1), inside = self.crop(index)
            labels[y0:y1, x0:x1][inside] = index + 1

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations, one a mask, ready for JSON.

        Keys: `id` (as in `to_labels`), `segmentation` (RLE, `counts` as str), `bbox` `[x, y, width, height]`, `area`,
        `score` and the same as `predicted_iou`, `image_id`, `category_id`, `iscrowd`. Where classes have names, each
        has a category of its own, numbered from `category_id` in the order in which they come.
        """
        from glesam.masks import formats as results_formats

        return results_formats.to_coco(self, image_id, category_id)

    @classmethod
    def from_coco(
        cls,
        content: dict[str, Any] | list[dict[str, Any]],
        size: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> Masks:
        """Read masks back from `to_coco`'s list or from the whole document that `save("x.json")` writes.

        Args:
            content: annotations with RLE, or a document with `images` and `annotations`.
            size: `(H, W)`, needed for an empty list only.
            name: which image of a document; needed if it has several.

        Raises:
            DataError: keys are missing, codes are damaged, sizes differ.
        """
        from glesam.masks import formats as results_formats

        return cls(**results_formats.from_coco(content, size, name))

    def to_polygons(self, tolerance: float = 1.0) -> list[list[Ring]]:
        """Outlines of each mask along the edges of pixels.

        Args:
            tolerance: how far, in pixels, an outline may leave the mask's edge; 0 is exact.

        Returns:
            Per mask a list of rings `(K, 2)` float32 `(x, y)`: outer rings have positive signed area (clockwise on the
            screen), holes negative and follow their outer ring; see `glesam.masks.polygons.trace`.
        """
        from glesam.masks.polygons import trace

        crops = (self.crop(index) for index in range(len(self)))
        return [[ring + np.array(box[:2], np.float32) for ring in trace(inside, tolerance)] for box, inside in crops]

    def to_supervision(self) -> Any:
        """`supervision.Detections` with boxes, masks and scores; see `glesam.masks.bridges`.

        Raises:
            ConfigError: the package supervision is not installed.
        """
        from glesam.masks.bridges import to_supervision

        return to_supervision(self)

    def overlay(self, image: ImageInput, alpha: float = 0.5) -> Image.Image:
        """Draw the masks on their image: tinted, outlined, one colour per object, small ones on top.

        Args:
            image: the image, in any form that `glesam.images.read` takes.
            alpha: share of colour in the tint, 0 to 1.

        Raises:
            DataError: the image's size is not the masks' size, or alpha is out of range.
            ImageError: the image cannot be read.
        """
        from glesam.draw import overlay as results_drawing

        return results_drawing.overlay(self, image, alpha)

    def cutout(self, image: ImageInput, index: int | None = 0, soft: bool = False, crop: bool = False) -> Image.Image:
        """Cut objects out: RGBA, transparent (and black) outside the mask.

        Args:
            image: the image, in any form that `glesam.images.read` takes.
            index: of the object; None takes all together.
            soft: edges with in-between values that follow the image's; see `glesam.masks.cutout.soft_alpha`.
            crop: to the box of what is not wholly transparent, else the image's size stays.

        Raises:
            DataError: the image's size is not the masks' size, or there is no such mask.
            ImageError: the image cannot be read.
        """
        from glesam.masks.cutout import cutout

        return cutout(self, image, index, soft, crop)

    def encode(self, suffix: str) -> bytes:
        """The bytes that `save` writes for a suffix: `.png`, `.json`, `.geojson` or `.npz`.

        Raises:
            DataError: another suffix, too many masks for a PNG, or an `info` that JSON cannot hold.
        """
        from glesam.masks import formats as results_formats

        return results_formats.encode(self, suffix)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file in one step; the suffix chooses the format.

        * `.png`: ids of `to_labels`, up to 254 masks in the colours of `overlay` (a palette: `PIL.Image` gives the ids,
          OpenCV the colours), above that grey, from 256 on with 16 bits.
        * `.json`: a COCO document; `.geojson`: polygons in pixels; `.npz`: all arrays.

        Raises:
            DataError: as `encode`.
            ImageError: the file cannot be written.
        """
        from glesam.masks import formats as results_formats

        results_formats.save(self, path)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Edges of the pixels of an `(H, W)` mask; zeros if empty."""
    return pixel_box(mask) or (0, 0, 0, 0)


def _check_masks(masks: npt.NDArray[np.bool_]) -> tuple[int, tuple[int, int]]:
    """N and `(H, W)` of a mask stack."""
    _expect(masks, "masks", (None, None, None), "bool")
    count, height, width = masks.shape
    if height * width == 0:
        raise DataError(
            f"expected masks of an image with pixels, got shape {masks.shape}; give (N, H, W) with H, W > 0"
        )
    return count, (height, width)


def _check_names(names: Sequence[str], count: int) -> None:
    """Check that there is one class name for each mask, or none at all."""
    if len(names) not in (0, count) or not all(isinstance(name, str) for name in names):
        raise DataError(f"expected a class name for each of {count} masks or none, got {len(names)}; give one each")


def _expect(array: Any, name: str, shape: tuple[int | None, ...], kind: str) -> None:
    """Check shape (None: any length) and kind of an array."""
    wanted = "(" + ", ".join("*" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    if not isinstance(array, np.ndarray):
        raise DataError(f"expected {name} as a numpy array {wanted} of {kind}, got {type(array).__name__}; convert it")
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or not (array.dtype == np.bool_ if kind == "bool" else array.dtype.kind == "f"):
        raise DataError(
            f"expected {name} of shape {wanted} and dtype {kind}, got {array.shape} {array.dtype}; "
            f"reshape or convert with .astype({'bool' if kind == 'bool' else 'np.float32'})"
        )


def _set_float(owner: Masks, name: str, shape: tuple[int | None, ...]) -> None:
    """Check a floating field and bring it to float32."""
    array = getattr(owner, name)
    _expect(array, name, shape, "float32")
    object.__setattr__(owner, name, array.astype(np.float32, copy=False))
