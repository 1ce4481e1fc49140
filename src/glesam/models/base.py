"""The one interface of every promptable model, and the value types that pass through it.

Shapes: `B` images, `N` prompts (objects) per image, `K` points per prompt, `C` mask candidates, `S` the model's
square input size, `(h, w)` the latent's size. Coordinates are `(x, y)`; boxes are `(x0, y0, x1, y1)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.errors import ModelError

if TYPE_CHECKING:
    from typing import Self

Part = Literal["encoder", "decoder"]
"""Parts of a model that may be tuned apart from the rest: image encoder and mask decoder."""

CORNER_LABELS = (2, 3)
"""Labels under which SAM's prompt encoder embeds the top left and the bottom right corner of a box."""

EARLY = "early"
"""Name of the early feature among an embedding's extras."""

PADDING_LABEL = -1
"""Label of a padded point; SAM's prompt encoders hold a learned "not a point" vector for it."""

FINE = "fine"
"""Among an embedding's extras: early features for masks at stride 2, `(B, 16, H / 2, W / 2)`; see `compact.fine`."""


@dataclass(frozen=True)
class ImageGeometry:
    """How an image was laid into the model's square input: resized, placed top left, padded.

    Attributes:
        original_size: `(H, W)` of the image that the user gave, in pixels.
        input_size: `(h, w)` that the image occupies inside the square.
        image_size: `S`, side of the square.
        direct: whether logits are resized to the image in one step, as SAM 2's authors do, not by way of the square.
        limit: logits are given out cut to `-limit .. limit`; masks are made before. None leaves them.
    """

    original_size: tuple[int, int]
    input_size: tuple[int, int]
    image_size: int
    direct: bool = False
    limit: float | None = None

    def to_input(self, coords: Tensor) -> Tensor:
        """Map `(..., 2)` coordinates from pixels of the image to pixels of the model's square."""
        (height, width), (h, w) = self.original_size, self.input_size
        return coords * coords.new_tensor([w / width, h / height])

    def to_original(self, coords: Tensor) -> Tensor:
        """Map `(..., 2)` coordinates from the model's square back to pixels of the image."""
        (height, width), (h, w) = self.original_size, self.input_size
        return coords * coords.new_tensor([width / w, height / h])

    def cells(self, low_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of `(h, w)` logits of the square that hold a part of the image, not padding alone."""
        rows, columns = (
            -(-inside * cells // self.image_size) for inside, cells in zip(self.input_size, low_size, strict=True)
        )
        return rows, columns

    def trim(self, pixel_values: Tensor, step: int = 1) -> Tensor:
        """Cut `(..., S, S)` model input down to the image, sides rounded up to multiples of `step`."""
        rows, columns = (min(self.image_size, -(-side // step) * step) for side in self.input_size)
        return pixel_values[..., :rows, :columns]

    def restore(self, low_res_logits: Tensor) -> Tensor:
        """Enlarge `(N, C, h, w)` logits to the square, cut the padding off, resize to `(N, C, H, W)`; or at once."""
        if self.direct:
            return F.interpolate(low_res_logits.float(), self.original_size, mode="bilinear", align_corners=False)
        rows, columns = low_res_logits.shape[-2:]
        if self.image_size % rows == 0 and self.image_size % columns == 0:
            # Rows and columns of padding, but for one that interpolation looks at, need not be enlarged to be cut off.
            fy, fx = self.image_size // rows, self.image_size // columns
            rows, columns = min(rows, -(-self.input_size[0] // fy) + 1), min(columns, -(-self.input_size[1] // fx) + 1)
            square = (rows * fy, columns * fx)
        else:
            square = (self.image_size, self.image_size)
        kept = low_res_logits[..., :rows, :columns].float()
        logits = F.interpolate(kept, square, mode="bilinear", align_corners=False)
        logits = logits[..., : self.input_size[0], : self.input_size[1]]
        return F.interpolate(logits, self.original_size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Embedding:
    """What the encoder makes of `B` images.

    Attributes:
        latent: `(B, 256, h, w)` float, the features that the enhancer works on.
        skips: high-resolution maps for the decoder, stride 4 first, then stride 8 (SAM 2, compact); empty for SAM.
        extras: further `(B, ...)` float tensors by name, for what reads more than the decoder does.
    """

    latent: Tensor
    skips: tuple[Tensor, ...] = ()
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> Embedding:
        """Apply a function, such as a cast or the choice of an image, to every tensor."""
        extras = {name: function(tensor) for name, tensor in self.extras.items()}
        return Embedding(function(self.latent), tuple(function(skip) for skip in self.skips), extras)

    def with_skips(self, skips: Iterable[Tensor]) -> Embedding:
        """Return the same embedding with other skips."""
        return replace(self, skips=tuple(skips))

    @property
    def early(self) -> Tensor | None:
        """`(B, D, h, w)` early feature of the encoder, where a mask head reads it."""
        return self.extras.get(EARLY)

    def with_latent(self, latent: Tensor) -> Embedding:
        """Return the same embedding with another latent, such as an enhanced one."""
        return replace(self, latent=latent)


@dataclass(frozen=True)
class PromptTensors:
    """Prompts in the model's input frame: pixels of the `S x S` square.

    Attributes:
        point_coords: `(B, N, K, 2)` float32, or None.
        point_labels: `(B, N, K)` int64: 1 foreground, 0 background, -1 padding; None when there are no points.
        boxes: `(B, N, 4)` float32, or None.
        mask_input: `(B, N, 4h, 4w)` float32 logits of an earlier mask, or None.
    """

    point_coords: Tensor | None = None
    point_labels: Tensor | None = None
    boxes: Tensor | None = None
    mask_input: Tensor | None = None

    def __post_init__(self) -> None:
        if self.point_coords is None and self.boxes is None and self.mask_input is None:
            raise ValueError("expected points, boxes or a mask input, got none of them; pass at least one")

    @property
    def shape(self) -> tuple[int, int]:
        """`(B, N)`: number of images and of prompts per image."""
        given = next(t for t in (self.point_coords, self.boxes, self.mask_input) if t is not None)
        return given.shape[0], given.shape[1]

    def map(self, function: Any) -> PromptTensors:
        """Apply a function, such as a move to a device, to every tensor that is present."""
        fields = (self.point_coords, self.point_labels, self.boxes, self.mask_input)
        return PromptTensors(*(None if t is None else function(t) for t in fields))

    def chunks(self, most: int) -> Iterator[tuple[slice, PromptTensors]]:
        """At most so many prompts of each image at a time, each part with its place among all."""
        for start in range(0, self.shape[1], most):
            place = slice(start, start + most)
            yield place, self.map(lambda tensor, place=place: tensor[:, place])


@dataclass(frozen=True)
class DecoderInputs:
    """What a mask decoder of the SAM kind reads: R rows (images, or single objects) of n prompts each.

    Attributes:
        latent: `(R, C, h, w)`.
        positions: `(R or 1, C, h, w)` positional encoding of the grid.
        sparse: `(R, n, T, C)` tokens of points and boxes, or None where there are none (n is then 1).
        dense: `(R or 1, C, h or 1, w or 1)` mask prompt, or "no mask".
        skips: maps at strides 4 and 8, `(R, C/8, 4h, 4w)` and `(R, C/4, 2h, 2w)`; empty for SAM.
        object_token: the decoder has a token for the object score before its others, as SAM 2 has.
    """

    latent: Tensor
    positions: Tensor
    sparse: Tensor | None
    dense: Tensor
    skips: tuple[Tensor, ...] = ()
    object_token: bool = False

    @property
    def per_row(self) -> int:
        """Number of prompts of each row."""
        return 1 if self.sparse is None else self.sparse.shape[1]


@dataclass(frozen=True)
class MaskOutput:
    """What the mask decoder answers.

    Attributes:
        low_res_logits: `(B, N, C, 4h, 4w)` float32; above 0 is inside. `C` is 3 with multimask, else 1.
        iou: `(B, N, C)` float32, the predicted IoU of each candidate.
        fine: `(B, N, C, 8h, 8w)` float32 logits of models with masks at twice the resolution, else None.
        object_score: `(B, N)` float32 logit that there is an object at all, of decoders that give it (SAM 2), else
            None.
    """

    low_res_logits: Tensor
    iou: Tensor
    fine: Tensor | None = None
    object_score: Tensor | None = None

    @property
    def finest(self) -> Tensor:
        """The logits that masks are made of: those at twice the resolution where there are any."""
        return self.low_res_logits if self.fine is None else self.fine


class PromptableModel(nn.Module, ABC):
    """A model of the Segment-Anything kind: image in, latent out; latent and prompts in, masks out."""

    family: ClassVar[str]
    image_size: int
    side_step: int | None = None
    """Sides of the encoder's input come in multiples of this, up to `image_size`; None takes whole squares alone."""
    cuts_boxes: bool = True
    """Whether boxes that reach over the edge are cut at it before the model sees them."""
    takes_crops: ClassVar[bool] = False
    """Whether `decode_all` knows of an `origin`: training on crops that lie anywhere in the frame."""
    answers_again: bool = False
    """Whether a single mask gets better where the model is given it back, with the same prompts, as a mask prompt."""
    decodes_plainly: bool = True
    """Whether `decode` is one plain pass of the mask decoder, to which a head's own pass is equal bit for bit."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return next(self.parameters()).dtype

    @property
    def head_kind(self) -> str | None:
        """Kind of the mask head that answers in place of the model's own decoder, such as "hq"; None without one."""
        return None

    def parts(self) -> Mapping[Part, nn.Module]:
        """The parts that may be tuned; none where the weights lie outside torch."""
        return {}

    def decoder_aides(self) -> Mapping[str, nn.Module]:
        """Modules besides the mask decoder that are trained with it, by the names that a tuned decoder gives them."""
        return {}

    def place(self, device: str | torch.device, dtype: torch.dtype) -> Self:
        """Move to a device and floating type, but for what must stay exact; returns the model."""
        return self.to(device=device, dtype=dtype)

    @abstractmethod
    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """Turn an `(H, W, 3)` uint8 RGB array into `(1, 3, S, S)` float32 pixel values and its geometry."""

    def prepare(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """As `preprocess`, without the padding that the encoder can do without: `(1, 3, rows, columns)`."""
        pixels, geometry = self.preprocess(image)
        return geometry.trim(pixels, self.side_step or self.image_size), geometry

    def pixels_of(self, crops: npt.NDArray[np.uint8]) -> Tensor:
        """Turn `(B, s, s, 3)` uint8 RGB crops into pixel values: enlarged to the square, but where `takes_crops`."""
        return torch.cat([self.preprocess(crop)[0] for crop in crops])

    @abstractmethod
    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values."""

    @abstractmethod
    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """Decode prompts on an embedding of as many images, or of one image that all share (B = 1)."""

    def without_fine(self, embedding: Embedding) -> Embedding:
        """The embedding for answers without `MaskOutput.fine`, where the model gives these sooner; else as it is."""
        return embedding

    def decode_all(
        self, embedding: Embedding, prompts: PromptTensors, origin: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode with all mask tokens, the single mask first: `(B, N, 4, 4h, 4w)` logits and `(B, N, 4)` IoU.

        Args:
            embedding: of B images.
            prompts: B x N prompts in pixels of the encoded image.
            origin: `(2,)` pixels, where the encoded image lies within the square; used where `takes_crops`.
        """
        single, three = self.decode(embedding, prompts), self.decode(embedding, prompts, multimask=True)
        logits = torch.cat([single.low_res_logits, three.low_res_logits], dim=2)
        return logits, torch.cat([single.iou, three.iou], dim=2)

    @property
    def early_channels(self) -> int | None:
        """Channels D of the early feature that `encode_early` gives; None where the encoder has none."""
        return None

    def encode_early(self, pixel_values: Tensor) -> Embedding:
        """As `encode`, with the early feature.

        Raises:
            ModelError: the encoder has none.
        """
        raise ModelError(f"expected a model with an early feature, got {self.family}; use SAM or the compact model")

    def decoder_inputs(
        self, embedding: Embedding, prompts: PromptTensors, origin: Tensor | None = None
    ) -> DecoderInputs:
        """What the mask decoder reads for `(B, N)` prompts, row by row; a mask head decodes it in its own way.

        Args:
            embedding: of B images, or of one that all prompts share.
            prompts: in pixels of the encoded image.
            origin: see `decode_all`.

        Raises:
            ModelError: the model takes no mask heads.
            PromptError: prompts that do not fit together, or do not fit the embedding.
        """
        raise ModelError(
            f"expected a model that takes mask heads, got {self.family}; use SAM, SAM 2 or the compact model"
        )

    def mask_output(
        self,
        logits: Tensor,
        iou: Tensor,
        prompts: PromptTensors,
        fine: Tensor | None = None,
        object_score: Tensor | None = None,
    ) -> MaskOutput:
        """What `decode` answers, from what a mask decoder gives.

        Args:
            logits: `(B * N, K, 4h, 4w)`.
            iou: `(B * N, K)`.
            prompts: the `(B, N)` prompts.
            fine: `(B * N, K, 8h, 8w)`, or None.
            object_score: `(B * N, 1)`, or None.
        """
        shape = prompts.shape
        low = logits.float().reshape(*shape, *logits.shape[1:])
        finer = None if fine is None else fine.float().reshape(*shape, *fine.shape[1:])
        present = None if object_score is None else object_score.float().reshape(shape)
        return MaskOutput(low, iou.float().reshape(*shape, -1), finer, present)

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder."""


def per_prompt(maps: Tensor, count: int) -> Tensor:
    """Give each of `count` prompts an image its image's map; a map that all share stays one."""
    return maps if maps.shape[0] == 1 else maps.repeat_interleave(count, dim=0)


def without_padding(masks: Tensor | None, latent: Tensor) -> Tensor | None:
    """Cut `(B, N, 4s, 4s)` mask prompts to the four times finer grid of a `(B, C, h, w)` latent, s its longer side."""
    return None if masks is None else masks[..., : 4 * latent.shape[-2], : 4 * latent.shape[-1]]


def squared(logits: Tensor) -> Tensor:
    """Extend `(B, N, K, h, w)` logits to squares by repeating the last row or column, so that masks end sharply."""
    height, width = logits.shape[-2:]
    if height == width:
        return logits
    padding = (0, max(0, height - width), 0, max(0, width - height))
    square = F.pad(logits.flatten(0, 1), padding, mode="replicate")
    return square.view(*logits.shape[:2], *square.shape[1:])
