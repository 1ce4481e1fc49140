"""The compact model: a mobile backbone and a small neck before SAM 2's prompt encoder and mask decoder.

It is bundled with the package, so that everything runs at once, offline, on a plain CPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.common.files import write_text
from glesam.models.base import (
    CORNER_LABELS,
    FINE,
    PADDING_LABEL,
    DecoderInputs,
    Embedding,
    ImageGeometry,
    MaskOutput,
    Part,
    PromptableModel,
    PromptTensors,
    per_prompt,
    squared,
    without_padding,
)
from glesam.models.compact.cells import unnest
from glesam.models.compact.config import CompactConfig as CompactConfig
from glesam.models.compact.decoder import SHAPES_KEPT, CompactMaskDecoder
from glesam.models.compact.encoder import CompactEncoder
from glesam.models.compact.fine import FineHead
from glesam.models.compact.inside import keep_inside
from glesam.models.compact.pixels import lay_into_square, to_pixel_values
from glesam.models.compact.prompt_encoder import PromptEncoder
from glesam.models.compact.prompt_maps import PromptMaps
from glesam.weights.folders import (
    CONFIG_FILE,
    DIGEST_KEY,
    WEIGHTS_FILE,
    building,
    check_keys,
    read_config,
    read_weights,
    seal,
    write_tensors,
)
from glesam.weights.undrawn import Undrawn

STRIDE = 16


class CompactModel(PromptableModel):
    """Encoder, prompt encoder and mask decoder in one; see `CompactConfig` for sizes."""

    family: ClassVar[str] = "compact"
    side_step = 32
    takes_crops: ClassVar[bool] = True
    answers_again = True
    decodes_plainly = False

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config = config or CompactConfig()
        self.image_size = self.config.image_size
        self.encoder = CompactEncoder(self.config)
        # Two random frequencies a frame on average: positions blur together below 20 of 512 pixels. SAM 2's 1 is too
        # coarse for the crops of the early training, and SAM's default in transformers would be noise.
        self.prompt_encoder = PromptEncoder(self.image_size, scale=2)
        for embedding in self.prompt_encoder.modules():
            if isinstance(embedding, nn.Embedding):
                nn.init.normal_(embedding.weight)
        self.mask_decoder = CompactMaskDecoder()
        self.prompt_maps = PromptMaps(256, 32) if self.config.prompt_maps else None
        self.fine = FineHead() if self.config.fine else None
        self._positions: dict[object, Tensor] = {}

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """Resize the long side of `(H, W, 3)` uint8 RGB to S, keep the aspect, pad right and below with mid-grey."""
        return lay_into_square(image, self.image_size)

    def pixels_of(self, crops: npt.NDArray[np.uint8]) -> Tensor:
        """See `PromptableModel.pixels_of`: crops of any side that is a multiple of 32 stay as large as they are."""
        return to_pixel_values(crops)

    def parts(self) -> Mapping[Part, nn.Module]:
        """See `PromptableModel.parts`."""
        return {"encoder": self.encoder, "decoder": self.mask_decoder}

    def decoder_aides(self) -> Mapping[str, nn.Module]:
        """See `PromptableModel.decoder_aides`: the head for masks at stride 2, and what embeds mask prompts."""
        masks: dict[str, nn.Module] = {"mask_embed": self.prompt_encoder.mask_embed}
        return masks if self.fine is None else {**masks, "fine_head": self.fine}

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values into a `(B, 256, S/16, S/16)` latent and skips at strides 4 and 8.

        Either side may be shorter, in multiples of 32 pixels: an image without its padding costs less.
        """
        pixel_values = pixel_values.to(self.device, self.dtype, memory_format=torch.channels_last)
        embedding: Embedding = self.encoder(pixel_values)
        return embedding

    @property
    def early_channels(self) -> int:
        """Width of the backbone at the latent's stride."""
        return int(self.encoder.backbone.channels[2])

    def encode_early(self, pixel_values: Tensor) -> Embedding:
        """As `encode`, with the backbone's map at the latent's stride as early feature."""
        pixel_values = pixel_values.to(self.device, self.dtype, memory_format=torch.channels_last)
        embedding: Embedding = self.encoder(pixel_values, early=True)
        return embedding

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """Decode `(B, N)` prompts; see `PromptableModel.decode`. Logits are square, whatever the latent's shape."""
        prompts = replace(prompts, mask_input=without_padding(prompts.mask_input, embedding.latent))
        masks = slice(1, 4) if multimask else slice(0, 1)
        logits, iou, fine = self.decode_fine(embedding, prompts, masks=masks)
        return self.mask_output(
            logits.flatten(0, 1), iou.flatten(0, 1), prompts, None if fine is None else fine.flatten(0, 1)
        )

    def without_fine(self, embedding: Embedding) -> Embedding:
        """See `PromptableModel.without_fine`: no early features, no masks at stride 2."""
        return replace(embedding, extras={name: e for name, e in embedding.extras.items() if name != FINE})

    def mask_output(
        self,
        logits: Tensor,
        iou: Tensor,
        prompts: PromptTensors,
        fine: Tensor | None = None,
        object_score: Tensor | None = None,
    ) -> MaskOutput:
        """See `PromptableModel.mask_output`; masks end where their boxes do."""
        output = super().mask_output(logits, iou, prompts, fine, object_score)
        found = [m for m in (output.low_res_logits, output.fine) if m is not None]
        if prompts.boxes is not None:
            boxes = prompts.boxes
            found = [keep_inside(m, boxes.to(m), stride) for m, stride in zip(found, (4, 2), strict=False)]
        low, *finer = (squared(m) for m in found)
        return replace(output, low_res_logits=low, fine=finer[0] if finer else None)

    def decoder_inputs(
        self, embedding: Embedding, prompts: PromptTensors, origin: Tensor | None = None
    ) -> DecoderInputs:
        """See `PromptableModel.decoder_inputs`; a row a prompt, with the prompts' maps in latent and skips.

        Args:
            embedding: of B images, or of one that all prompts share.
            prompts: B x N prompts in pixels of the encoded image.
            origin: see `decode_all`.
        """
        prompts = replace(prompts, mask_input=without_padding(prompts.mask_input, embedding.latent))
        prompts = prompts.map(lambda t: t.to(self.device))
        batch, count = prompts.shape
        coords, labels = self._points(prompts)
        tokens, repeats = self._sparse(coords, labels, None if origin is None else origin.to(self.device))
        tokens = torch.cat([tokens, tokens[:, -1:].expand(-1, repeats - 1, -1)], dim=1)
        latent, skip4, skip8 = (
            per_prompt(m, count).expand(batch * count, -1, -1, -1) for m in (embedding.latent, *embedding.skips)
        )
        latent = latent + self._dense(prompts, latent.dtype)
        size = (latent.shape[-2], latent.shape[-1])
        if self.prompt_maps is not None:
            drawn = self.prompt_maps(coords.flatten(0, 1), labels.flatten(0, 1), size, STRIDE)
            latent = latent + (drawn.coarse @ drawn.coarse_weight).transpose(1, 2).unflatten(2, size)
            skip4 = skip4 + unnest((drawn.fine @ drawn.fine_weight).transpose(1, 2), size)
        positions = self._grid_positions(latent.shape[-2:], origin)
        return DecoderInputs(latent, positions, tokens[:, None], torch.zeros_like(latent[:1]), (skip4, skip8))

    def decode_all(
        self,
        embedding: Embedding,
        prompts: PromptTensors,
        origin: Tensor | None = None,
        masks: slice = slice(0, 4),
    ) -> tuple[Tensor, Tensor]:
        """Decode with several of the four mask tokens: `(B, N, K, 4h, 4w)` logits and `(B, N, K)` predicted IoU.

        Args:
            embedding: of B images, or of one that all prompts share.
            prompts: B x N prompts in pixels of the encoded image.
            origin: `(2,)` pixels, where the encoded image lies within the S x S frame. Training on crops smaller than
                S moves them about the frame, so that distances and places mean the same at every size.
            masks: which of the masks, index 0 the single mask and 1 to 3 the candidates.
        """
        return self._decode(embedding, prompts, origin, masks, None)[:2]

    def decode_fine(
        self,
        embedding: Embedding,
        prompts: PromptTensors,
        origin: Tensor | None = None,
        masks: slice = slice(0, 4),
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `decode_all`, with `(B, N, K, 8h, 8w)` logits of the fine head besides; None without one."""
        return self._decode(embedding, prompts, origin, masks, self.fine)

    def _decode(
        self,
        embedding: Embedding,
        prompts: PromptTensors,
        origin: Tensor | None,
        masks: slice,
        fine: FineHead | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decode prompts; see `decode_all` and `decode_fine`."""
        prompts = prompts.map(lambda t: t.to(self.device))
        batch, count = prompts.shape
        origin = None if origin is None else origin.to(self.device)
        coords, labels = self._points(prompts)
        sparse, repeats = self._sparse(coords, labels, origin)
        each = embedding.map(lambda m: per_prompt(m, count))
        latent, skips, early = each.latent, each.skips, each.extras.get(FINE)
        dense = self._dense(prompts, latent.dtype)
        size = (latent.shape[-2], latent.shape[-1])
        drawn = None
        if self.prompt_maps is not None:
            drawn = self.prompt_maps(coords.flatten(0, 1), labels.flatten(0, 1), size, STRIDE)
        positions = self._grid_positions(latent.shape[-2:], origin)
        # A tuned encoder may be older than the fine head and give no early features.
        head = None if fine is None or early is None else (fine, early)
        logits, iou, finer = self.mask_decoder.decode_all(
            latent, positions, sparse, dense, (skips[0], skips[1]), drawn, masks, repeats, head
        )
        if finer is not None:
            finer = finer.view(batch, count, *finer.shape[1:])
        return logits.view(batch, count, *logits.shape[1:]), iou.view(batch, count, -1), finer

    def _dense(self, prompts: PromptTensors, dtype: torch.dtype) -> Tensor:
        """Mask prompts `(B * N, 256, h, w)`, or the one vector that stands for none, `(1, 256, 1, 1)`."""
        if prompts.mask_input is None:
            dense: Tensor = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        else:
            dense = self.prompt_encoder.mask_embed(prompts.mask_input.flatten(0, 1).unsqueeze(1).to(dtype))
        return dense

    def _points(self, prompts: PromptTensors) -> tuple[Tensor, Tensor]:
        """Points `(B, N, K, 2)` and labels `(B, N, K)` of prompts, boxes first, as two corner points."""
        batch, count = prompts.shape
        coords = torch.zeros(batch, count, 0, 2, device=self.device)
        labels = torch.zeros(batch, count, 0, dtype=torch.long, device=self.device)
        if prompts.boxes is not None:
            coords = prompts.boxes.view(batch, count, 2, 2).to(coords)
            labels = torch.tensor(CORNER_LABELS, device=self.device).expand(batch, count, 2)
        if prompts.point_coords is not None and prompts.point_labels is not None:
            coords = torch.cat([coords, prompts.point_coords.to(coords)], dim=2)
            labels = torch.cat([labels, prompts.point_labels], dim=2)
        return coords, labels

    def _sparse(self, coords: Tensor, labels: Tensor, origin: Tensor | None) -> tuple[Tensor, int]:
        """Embed `(B, N, K, 2)` points as `(B * N, T, 256)` tokens; give also how many the last one stands for.

        All prompts are filled up with padding points to the number that training used: padding takes part in the
        attention, so that its amount must not change. Padding points are all alike, so that one can stand for them.
        """
        if origin is not None:
            coords = coords + origin
        room = max(0, self.config.prompt_slots - coords.shape[2])
        if torch.is_grad_enabled():
            coords, labels = F.pad(coords, (0, 0, 0, room)), F.pad(labels, (0, room), value=PADDING_LABEL)
            room = 0
        sparse = self.prompt_encoder(coords, labels)  # adds a padding point of its own
        tokens: Tensor = sparse.flatten(0, 1).to(self.dtype)
        return tokens, 1 + room

    def _grid_positions(self, size: torch.Size, origin: Tensor | None) -> Tensor:
        """Positional encoding of the cells, `(1, 256, h, w)`; that of the usual frame is kept for a few sizes."""
        if origin is None:
            table = self.prompt_encoder.shared_embedding.positional_embedding
            key = (size, table.data_ptr(), table._version, self.dtype, torch.is_inference_mode_enabled())
            kept = self._positions.get(key)
            if kept is None:
                kept = self._grid_positions(size, torch.zeros(2, device=self.device))
                # Threads may share a model: what is kept is replaced as a whole.
                self._positions = dict([*self._positions.items(), (key, kept)][-SHAPES_KEPT:])
            return kept
        ys, xs = (torch.arange(n, device=self.device, dtype=torch.float32) for n in size)
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)
        centres = ((grid + 0.5) * STRIDE + origin) / self.image_size
        encoded: Tensor = self.prompt_encoder.shared_embedding(centres[None])
        return encoded.permute(0, 3, 1, 2).to(self.dtype)

    def with_prompt_maps(self) -> CompactModel:
        """Give a model prompt maps that it has not: zero at first, so that it answers as before; returns the model."""
        if self.prompt_maps is None:
            self.config = replace(self.config, prompt_maps=True)
            self.prompt_maps = PromptMaps(256, 32).to(self.device, self.dtype)
        return self

    def grown(self, coarse: bool = False, fine: bool = False) -> CompactModel:
        """A model with the same answers and weights that has the second look or the fine head too, zero at first."""
        config = replace(self.config, coarse=coarse or self.config.coarse, fine=fine or self.config.fine)
        if config == self.config:
            return self
        model = CompactModel(config)
        model.load_state_dict({**model.state_dict(), **self.state_dict()})
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def place(self, device: str | torch.device, dtype: torch.dtype) -> CompactModel:
        """Move to a device and floating type; positions stay in float32, since in bfloat16 clicks would move."""
        holder = self.prompt_encoder.shared_embedding
        exact = holder.positional_embedding.detach().float()
        self.to(device=device, dtype=dtype)
        holder.positional_embedding.data = exact.to(device)
        return self

    def save_pretrained(self, folder: str | Path, half: bool = False) -> None:
        """Write `config.json`, with the digest of the weights, and `model.safetensors`.

        Args:
            folder: made if it is not there.
            half: store float16, which halves the file.
        """
        state = {k: (v.half() if half else v).contiguous() for k, v in self.state_dict().items()}
        write_tensors(Path(folder) / WEIGHTS_FILE, state)
        write_text(Path(folder) / CONFIG_FILE, json.dumps({"family": self.family, **asdict(self.config)}))
        seal(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> CompactModel:
        """Load a saved model in float32, ready for inference; every key must be accounted for.

        Raises:
            ModelError: a file is missing, an option is unknown, or keys do not match.
        """
        values = {k: v for k, v in read_config(folder).items() if k not in ("family", DIGEST_KEY)}
        with building("the compact model", f"{folder}/{CONFIG_FILE}"), Undrawn():
            model = cls(CompactConfig(**values))
        state = read_weights(folder)
        check_keys(model.state_dict(), state, str(folder))
        model.load_state_dict(state)  # float16 becomes float32 on the way
        return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
