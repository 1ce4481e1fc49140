"""A tiny SAM 2 for video with random weights, and an oracle that segments by colour, for clips of known truth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from glesam.masks.masks import Masks
from glesam.models.base import ImageGeometry
from glesam.prompts.prompts import Prompts

WIDTH, SIDE = 128, 64


def tiny_config() -> Sam2VideoConfig:
    """64-pixel input, memory of 3 masks and 4 pointers, so that a short clip outgrows it."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "global_attention_blocks": [3],
        "window_size_per_stage": [4, 2, 2, 2],
        "window_positional_embedding_background_size": [3, 3],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": WIDTH,
    }
    prompt = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16}
    decoder = {"hidden_size": WIDTH, "mlp_dim": 48, "num_attention_heads": 8, "iou_head_hidden_dim": 40}
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder,
        image_size=SIDE,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=48,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=48,
    )


def tiny_video_model(seed: int = 0) -> Sam2VideoModel:
    """Random weights everywhere: transformers starts many at zero."""
    model = Sam2VideoModel(tiny_config())
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    # Objects that the model takes for hidden would all be equal.
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(50.0)
    return model.eval()


class ColourOracle:
    """Stands in for a predictor: an object is what has the colour of a prompt's point, inside its grown box.

    Args:
        padded: frames keep their aspect in the square of logits, as with SAM and compact; else they are squashed.
    """

    name, low = "oracle", 32

    def __init__(self, padded: bool = False) -> None:
        self.calls, self.padded = 0, padded
        self.asked: list[Prompts] = []
        self._frame = np.zeros((1, 1, 3), np.uint8)

    @property
    def session(self) -> Any:
        """Where the current frame lies in the square, of a pixel for each cell of the logits."""
        size = self.image_size
        inside = tuple(round(side * self.low / max(size)) for side in size) if self.padded else (self.low, self.low)
        geometry = ImageGeometry(size, inside, self.low, direct=not self.padded)
        return SimpleNamespace(encoded=SimpleNamespace(geometry=geometry))

    @property
    def image_size(self) -> tuple[int, int]:
        return self._frame.shape[0], self._frame.shape[1]

    def set_image(self, image: Any) -> None:
        self._frame = image
        self.calls += 1

    def predict(self, prompts: Prompts, multimask: bool = False, obey: bool = True) -> Masks:
        boxes = prompts.check(self.image_size).boxes
        assert boxes is not None
        masks = np.stack([self._one(box) for box in boxes])
        self.asked.append(prompts)
        rows, columns = self.session.encoded.geometry.input_size
        small = np.zeros((len(masks), self.low, self.low), np.float32)
        for cells, mask in zip(small, masks, strict=True):
            shrunk = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
            cells[:rows, :columns] = shrunk
        scores = np.array([0.9 if m.any() else 0.0 for m in masks], np.float32)
        return Masks(masks, scores, small * 20 - 10)

    def _one(self, box: Any) -> Any:
        x0, y0, x1, y1 = (int(v) for v in box)
        hsv = cv2.cvtColor(self._frame, cv2.COLOR_RGB2HSV)
        strong = hsv[..., 1] > 120
        inside = np.zeros(strong.shape, bool)
        inside[y0:y1, x0:x1] = True
        hues = hsv[..., 0][strong & inside].astype(int)
        if len(hues) < 20:
            return np.zeros(strong.shape, bool)
        middle = np.bincount(hues, minlength=180).argmax()
        return strong & inside & (np.abs(hsv[..., 0].astype(int) - middle) < 15)
