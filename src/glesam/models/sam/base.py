"""What SAM and SAM 2 share when they come from transformers: strict loading, saving, and the way to the decoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from torch import Tensor, nn

from glesam.common.files import write_text
from glesam.errors import ImageError, ModelError, PromptError
from glesam.models.base import DecoderInputs, Embedding, MaskOutput, Part, PromptableModel, PromptTensors
from glesam.weights.folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    brief,
    building,
    fetch_folder,
    read_config,
    read_weights,
    take_over,
    write_tensors,
)

if TYPE_CHECKING:
    from typing import Self

# One matrix encodes the prompts' coordinates and the latent's grid; files may hold it under either name or both.
TIED_KEYS = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")


class WrappedModel(PromptableModel):
    """A promptable model that holds a transformers model as `model` and adds no weights of its own.

    Without an enhancer its answers are those of the transformers model, bit for bit.
    """

    architecture: ClassVar[str]
    config_class: ClassVar[str]
    cuts_boxes: bool = False
    object_token: ClassVar[bool] = False
    """Whether the decoder gives an object score, by a token of its own."""
    video_only_keys: ClassVar[tuple[str, ...]] = ()
    """Prefixes of keys for tracking in video, which repositories for images and video hold besides."""

    def __init__(self, model: Any) -> None:
        """Take a transformers model of the class `architecture`; it is put into evaluation mode."""
        super().__init__()
        self.model = model
        self.eval()
        self.image_size = int(model.config.prompt_encoder_config.image_size)

    def parts(self) -> Mapping[Part, nn.Module]:
        """See `PromptableModel.parts`."""
        return {"encoder": self.model.vision_encoder, "decoder": self.model.mask_decoder}

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the image encoder; the positional encoding stays in float32 (see `place`)."""
        dtype: torch.dtype = next(self.model.vision_encoder.parameters()).dtype
        return dtype

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        local_files_only: bool = False,
    ) -> Self:
        """Load a saved folder, or a repository of the hub, with every key accounted for.

        Args:
            source: folder with `config.json` and `model.safetensors`, or hub id.
            device: where the weights go.
            dtype: floating type of the weights.
            local_files_only: for hub ids: look in the cache only.

        Raises:
            ModelError: the source is missing or unreadable, or keys or shapes do not match.
        """
        folder = fetch_folder(source, local_files_only)
        values = read_config(folder)
        try:
            config = getattr(transformers, cls.config_class).from_dict(values)
        except Exception as error:  # transformers' own checks of a config raise many types
            raise ModelError(
                f"expected a {cls.config_class} in {folder / CONFIG_FILE}, got {brief(error)}; "
                "use a folder of this family"
            ) from error
        return cls.from_state(config, read_weights(folder), str(source)).place(device, dtype)

    @classmethod
    def build(cls, config: Any) -> Any:
        """Build the transformers model that is wrapped, without its weights."""
        return getattr(transformers, cls.architecture)(config)

    @classmethod
    def from_state(cls, config: Any, state: dict[str, Tensor], source: str) -> Self:
        """Build the model from a transformers config and a state dict with transformers' names.

        Args:
            config: of the class `config_class`.
            state: all weights; the model takes the tensors over.
            source: where they come from, for error messages.

        Raises:
            ModelError: keys are missing, unexpected or of another shape; each kind is counted and named.
        """
        state = {k: v for k, v in state.items() if not k.startswith(cls.video_only_keys)}
        for name, other in (TIED_KEYS, TIED_KEYS[::-1]):
            if other in state:
                state.setdefault(name, state[other])
        # Built without memory and then filled: random initialisation of ViT-H alone takes longer than reading it.
        with torch.device("meta"), building(cls.architecture, source):
            model = cls.build(config)
        take_over(model, state, f"{source} ({cls.architecture})")
        model.tie_weights()
        with building(cls.architecture, source):
            return cls(model)

    def place(self, device: str | torch.device, dtype: torch.dtype) -> Self:
        """Move to a device and floating type, except that the positional encoding stays in float32.

        bfloat16 resolves coordinates in a square of 1024 pixels to 2 to 4 pixels only: clicks would move.
        """
        holders = (self.model.shared_image_embedding, self.model.prompt_encoder.shared_embedding)
        exact = holders[0].positional_embedding.detach().float()
        self.to(device=device, dtype=dtype)
        for holder in holders:
            holder.positional_embedding.data = exact.to(device)
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` (transformers' format, with the family) and `model.safetensors` into a folder."""
        config = self.model.config
        config.family, config.architectures, config.dtype = self.family, [self.architecture], self.dtype
        state = {k: v.detach().contiguous() for k, v in self.model.state_dict().items()}
        if state[TIED_KEYS[0]].data_ptr() == state[TIED_KEYS[1]].data_ptr():
            # The format refuses two names for one tensor.
            del state[TIED_KEYS[1]]
        write_tensors(Path(folder) / WEIGHTS_FILE, state, {"format": "pt"})
        write_text(Path(folder) / CONFIG_FILE, config.to_json_string())

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """Decode `(B, N)` prompts on an embedding of B images, or of one that all share.

        Label -1 marks padded points; as in the reference they become "not a point" tokens.

        Raises:
            PromptError: the prompts' shapes do not fit together, or do not fit the embedding.
        """
        read = self.decoder_inputs(embedding, prompts)
        logits, iou, score = self._decode_masks(
            read.latent, list(read.skips), read.positions, read.sparse, read.dense, multimask
        )
        return self.mask_output(logits.flatten(0, 1), iou.flatten(0, 1), prompts, object_score=score)

    def decoder_inputs(
        self, embedding: Embedding, prompts: PromptTensors, origin: Tensor | None = None
    ) -> DecoderInputs:
        """See `PromptableModel.decoder_inputs`; rows are images, or objects where they have mask prompts."""
        batch, count = self._check(embedding, prompts)
        prompts = prompts.map(lambda tensor: tensor.to(self.device))
        maps = [m.to(self.device, self.dtype).expand(batch, -1, -1, -1) for m in (embedding.latent, *embedding.skips)]
        if prompts.mask_input is not None:
            # transformers takes one mask for each image: let every object be an image of its own.
            maps = [m.repeat_interleave(count, dim=0) for m in maps]
            prompts = prompts.map(lambda tensor: tensor.flatten(0, 1).unsqueeze(1))
        sparse, dense = self._encode_prompts(prompts)
        positions = self.model.get_image_wide_positional_embeddings().to(self.dtype).expand(len(maps[0]), -1, -1, -1)
        return DecoderInputs(maps[0], positions, sparse, dense, tuple(maps[1:]), self.object_token)

    def _encode_prompts(self, prompts: PromptTensors) -> tuple[Tensor | None, Tensor]:
        """Embed prompts of `(rows, n)`: sparse `(rows, n, T, 256)` or None, dense `(rows, 256, h, w)`."""
        masks, labels = prompts.mask_input, prompts.point_labels
        sparse, dense = self.model.prompt_encoder(
            input_points=None if prompts.point_coords is None else prompts.point_coords.float(),
            input_labels=None if labels is None else labels.long(),
            input_boxes=None if prompts.boxes is None else prompts.boxes.float().contiguous(),
            input_masks=None if masks is None else masks.to(self.dtype),
        )
        return sparse, dense

    @abstractmethod
    def _decode_masks(
        self,
        latent: Tensor,
        skips: list[Tensor],
        positions: Tensor,
        sparse: Tensor | None,
        dense: Tensor,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the mask decoder on `rows` latents.

        Returns:
            Logits `(rows, n, C, 4h, 4w)`, IoU `(rows, n, C)`, and the object score `(rows, n, 1)` where there is one.
        """

    def _check(self, embedding: Embedding, prompts: PromptTensors) -> tuple[int, int]:
        """Return `(B, N)` when every prompt tensor has it and the embedding fits."""
        batch, count = prompts.shape
        side = 4 * embedding.latent.shape[-1]
        points = prompts.point_coords
        expected = {
            "point_coords": (batch, count, points.shape[2] if points is not None and points.dim() == 4 else -1, 2),
            "boxes": (batch, count, 4),
            "mask_input": (batch, count, side, side),
        }
        if points is not None:
            expected["point_labels"] = tuple(points.shape[:3])
            if prompts.point_labels is None:
                raise PromptError("expected point_labels with point_coords, got None; give 1, 0 or -1 for each point")
        for name, shape in expected.items():
            tensor = getattr(prompts, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise PromptError(
                    f"expected {name} of shape {shape}, got {tuple(tensor.shape)}; give one for each object"
                )
        if embedding.latent.shape[0] not in (1, batch):
            raise PromptError(
                f"expected an embedding of 1 or {batch} images, got {embedding.latent.shape[0]}; "
                "give prompts for each image"
            )
        return batch, count

    def _check_pixels(self, pixel_values: Tensor) -> Tensor:
        """Return `(B, 3, S, S)` pixel values on the weights' device and in their type."""
        expected = (3, self.image_size, self.image_size)
        if pixel_values.dim() != 4 or tuple(pixel_values.shape[1:]) != expected:
            raise ImageError(
                f"expected pixel values (B, 3, {expected[1]}, {expected[2]}), got {tuple(pixel_values.shape)}; "
                "use preprocess"
            )
        return pixel_values.to(self.device, self.dtype)
