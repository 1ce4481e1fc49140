"""Carrying objects with SAM 2's memory (Ravi et al., 2024, arXiv 2408.00714), through transformers' `Sam2VideoModel`.

Frames are streamed: of the past stays only what the memory attention can still reach (`num_maskmem` masks and
`max_object_pointers_in_encoder` pointers), so that memory is flat whatever the clip's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.errors import ModelError, PromptError
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.masks.refine import Refiner, check_mode, make_guide
from glesam.models.base import CORNER_LABELS, ImageGeometry
from glesam.models.sam.base import TIED_KEYS
from glesam.models.sam.pixels import check_image, squash_frame
from glesam.predict.finish import cell_of
from glesam.prompts.prompts import Prompts
from glesam.video.tracker import Tracker
from glesam.weights.folders import brief, check_keys, read_config, read_weights

MEMORY_MARK = "memory_"
"""What keys of weights start with that only a model for video has."""

_KINDS = ("cond_frame_outputs", "non_cond_frame_outputs")
_NEEDED = ("maskmem_features", "maskmem_pos_enc", "object_pointer")


class MemoryTracker(Tracker):
    """Carries objects by SAM 2's memory attention; answers are those of transformers' streaming inference.

    The enhancer does not take part: the memory works on the encoder's own features.

    Args:
        model: transformers' `Sam2VideoModel`; it is put into evaluation mode.
        name: what results call the model.
        refine: "auto" or "off", see `glesam.masks.refine`. Clicks hold on their own frame as far as the memory follows.
    """

    kind: ClassVar[str] = "memory"

    def __init__(self, model: Any, name: str = "sam2", refine: str = "auto") -> None:
        self._refine = check_mode(refine)
        self.model, self.name = model.eval(), name
        self._session: Any = None
        self._index = 0

    @torch.inference_mode()
    def start(self, frame: RGB, prompts: Prompts) -> Masks:
        """See `Tracker.start`.

        Raises:
            PromptError: prompts that do not fit the frame, or a mask input, which this model takes from its memory.
        """
        size = (frame.shape[0], frame.shape[1])
        checked = _checked(prompts, size)
        self._session, self._index = self._new_session(size), 0
        for number in range(len(checked)):
            place = self._session.obj_id_to_idx(number + 1)
            self._session.add_point_inputs(place, 0, self._points(checked.select([number]), size))
        self._session.obj_with_new_inputs = list(range(1, len(checked) + 1))
        return self._run(frame)

    @torch.inference_mode()
    def step(self, frame: RGB) -> Masks:
        """See `Tracker.step`."""
        if self._session is None:
            raise PromptError("expected prompts on an earlier frame, got none; call start(frame, prompts) first")
        self._index += 1
        return self._run(frame)

    @torch.inference_mode()
    def correct(self, frame: RGB, prompts: Prompts, objects: Sequence[int]) -> Masks:
        """See `Tracker.correct`; the prompts alone give the mask, and later frames remember it as they do the first.

        transformers encodes the memory of all objects of a frame in one way, that of clicked masks (cut at 0) if any is
        clicked: those that were not corrected are remembered a little more sharply from this frame.

        Raises:
            PromptError: as `start`; or `start` was not called.
        """
        if self._session is None:
            raise PromptError("expected prompts on an earlier frame, got none; call start(frame, prompts) first")
        size = (frame.shape[0], frame.shape[1])
        checked = _checked(prompts, size)
        self._index += 1
        for row, number in enumerate(objects):
            self._session.add_point_inputs(number, self._index, self._points(checked.select([row]), size))
        self._session.obj_with_new_inputs = [number + 1 for number in objects]
        return self._run(frame)

    def state(self) -> dict[str, Any]:
        """See `Tracker.state`."""
        session = self._session
        kept = [
            [
                {index: {k: output[k].cpu().clone() for k in _NEEDED} for index, output in stored[kind].items()}
                for kind in _KINDS
            ]
            for stored in session.output_dict_per_obj.values()
        ]
        return {"size": [session.video_height, session.video_width], "index": self._index, "kept": kept}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Tracker.restore`."""
        height, width = state["size"]
        self._session, self._index = self._new_session((height, width)), state["index"]
        for number, outputs in enumerate(state["kept"]):
            place = self._session.obj_id_to_idx(number + 1)
            for kind, stored in zip(_KINDS, outputs, strict=True):
                self._session.output_dict_per_obj[place][kind] = {
                    i: {k: v.to(self.model.device) for k, v in out.items()} for i, out in stored.items()
                }

    def _new_session(self, size: tuple[int, int]) -> Any:
        """An empty session for frames of `(H, W)`."""
        from transformers import Sam2VideoInferenceSession

        device = self.model.device
        return Sam2VideoInferenceSession(
            video_height=size[0],
            video_width=size[1],
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=self.model.dtype,
        )

    def _points(self, prompts: Prompts, size: tuple[int, int]) -> dict[str, Tensor]:
        """One object's points, the corners of its box before them, in pixels of the model's square."""
        tensors = prompts.to_tensors(self._geometry(size), self.model.device)
        coords, labels = [], []
        if tensors.boxes is not None:
            coords.append(tensors.boxes.reshape(1, 1, 2, 2))
            labels.append(torch.tensor(CORNER_LABELS, device=self.model.device).reshape(1, 1, 2))
        if tensors.point_coords is not None and tensors.point_labels is not None:
            coords.append(tensors.point_coords)
            labels.append(tensors.point_labels)
        return {
            "point_coords": torch.cat(coords, dim=2).to(self.model.dtype),
            "point_labels": torch.cat(labels, dim=2).to(torch.int32),
        }

    def _run(self, frame: RGB) -> Masks:
        """Segment the frame number `self._index`."""
        size = (frame.shape[0], frame.shape[1])
        pixels = pixel_values(frame, self.model.image_size).to(self.model.device, self.model.dtype)
        output = self.model(self._session, frame_idx=self._index, frame=pixels)
        self._forget()
        logits = output.pred_masks.float()
        inside = self._cut(frame, self._geometry(size), logits)
        scores = torch.sigmoid(output.object_score_logits.float()).reshape(-1).cpu().numpy()
        info = {"model": self.name, "enhanced": False, "tracker": self.kind, "refine": self._refine}
        return Masks(inside, scores, logits[:, 0].cpu().numpy(), info=info)

    def _cut(self, frame: RGB, geometry: ImageGeometry, logits: Tensor) -> npt.NDArray[np.bool_]:
        """Masks `(N, H, W)` of `(N, 1, h, w)` logits."""
        enlarged = geometry.restore(logits)[:, 0].cpu().numpy()
        if self._refine == "off":
            return np.asarray(enlarged > 0, bool)
        refiner = Refiner(make_guide(frame), cell_of(geometry, logits.shape[-1]), [None] * len(enlarged))
        return np.stack([refiner.cut(each, index) for index, each in enumerate(enlarged)])

    def _forget(self) -> None:
        """Let go of what no later frame can reach: pixels, whole masks, and frames beyond the memory's length."""
        session, config = self._session, self.model.config
        session.processed_frames.clear()
        session.cache.clear_all()
        oldest = self._index - max(config.num_maskmem, config.max_object_pointers_in_encoder)
        for place in range(session.get_obj_num()):
            session.frames_tracked_per_obj[place].clear()
            for kind in _KINDS:
                stored = session.output_dict_per_obj[place][kind]
                for index in [i for i in stored if kind == _KINDS[1] and i < oldest]:
                    del stored[index]
                for index, output in stored.items():
                    stored[index] = {key: output[key] for key in _NEEDED}

    def _geometry(self, size: tuple[int, int]) -> ImageGeometry:
        side = int(self.model.image_size)
        return ImageGeometry(size, (side, side), side, direct=True)


def _checked(prompts: Prompts, size: tuple[int, int]) -> Prompts:
    """The prompts, if they fit a frame of `(H, W)` and SAM 2's memory.

    Raises:
        PromptError: they do not.
    """
    if prompts.mask_input is not None:
        raise PromptError("expected points or boxes for SAM 2 in video, got a mask input; leave it out")
    return prompts.check(size, cut=False)


def pixel_values(frame: RGB, side: int) -> Tensor:
    """Squash a frame to the model's square and normalise it, as the authors' loader of frames does.

    Returns:
        `(1, 3, side, side)` float32.

    Raises:
        ImageError: not `(H, W, 3)` uint8.
    """
    check_image(frame)
    return squash_frame(frame, side)


def has_memory(source: str | Path) -> bool:
    """Whether weights hold SAM 2's memory; of a saved folder only their names are read, of an authors' file all.

    A file that holds a head counts as one without: the memory answers by SAM 2's own decoder, not by the head.
    """
    from safetensors import SafetensorError, safe_open

    from glesam.heads.original import holds_head
    from glesam.models.sam.original_names import SAM2_MARK
    from glesam.models.sam.reading import read_checkpoint
    from glesam.weights.folders import WEIGHTS_FILE

    folder = Path(source)
    if folder.is_file():
        keys = read_checkpoint(folder)
        return SAM2_MARK in keys and not holds_head(keys) and any(key.startswith(MEMORY_MARK) for key in keys)
    try:
        with safe_open(Path(folder) / WEIGHTS_FILE, framework="pt") as weights:
            return any(key.startswith(MEMORY_MARK) for key in weights.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


def load_memory_model(source: str | Path, device: str | torch.device = "cpu") -> Any:
    """Load transformers' `Sam2VideoModel`, with every key accounted for.

    Args:
        source: folder with `config.json` and `model.safetensors` in transformers' format, or an authors' `.pt` file.
        device: where the weights go.

    Raises:
        ModelError: unreadable, of another architecture, or keys that are missing or left over.
    """
    from transformers import Sam2VideoConfig, Sam2VideoModel

    if Path(source).is_file():
        from glesam.models.sam.original import convert_video, read_checkpoint

        config, state = convert_video(read_checkpoint(source), str(source))
    else:
        state = read_weights(source)
        try:
            config = Sam2VideoConfig.from_dict(read_config(source))
        except Exception as error:  # transformers' own checks of a config raise many types
            raise ModelError(
                f"expected a Sam2VideoConfig in {source}, got {brief(error)}; use a SAM 2 folder"
            ) from error
    model = Sam2VideoModel(config)
    expected = model.state_dict()
    for name, other in (TIED_KEYS, TIED_KEYS[::-1]):
        if other in state and name in expected:
            state.setdefault(name, state[other])
    check_keys(expected, state, f"{source} (Sam2VideoModel)")
    model.load_state_dict(state)
    return model.to(device).eval()
