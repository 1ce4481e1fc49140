"""The SAM block: image features as a SAM decoder's two-way attention sees them, prompted for one class after the other.

Section 3.3 of the paper. Classes ride in the batch. Points and regions of a class come from `pseudo_prompts`; regions
are apart, so that one mask prompt can hold them all, and the points tell them from each other. Absent points get
SAM's padding label.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.models.base import PromptableModel
from glesam.text.base import stretched
from glesam.text.escnet.config import SamShape
from glesam.text.pseudo_prompts import pseudo_prompts

_NO_POINT = -10
"""Label that SAM's prompt encoder makes zeros of."""

_LEVEL = 0.6
"""Share of a map's range above which a cell belongs to the regions."""

_CERTAIN = 4.0
"""Logit of the mask prompt inside regions; outside it is the negative."""

_SIDE = 1024
_FINER = 4
"""Mask prompts have four times the cells of the image features."""


def class_prompts(maps: Tensor, regions: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Make the prompts of N maps.

    Args:
        maps: `(N, h, w)`, higher where the class is.
        regions: R at most.
        seed: of k-means; every map starts from the same, so that the order of classes does not matter.

    Returns:
        `(N, R, 2)` points `(x, y)` in cells, `(N, R)` labels, and `(N, 1, h, w)` float, 1 inside the regions.
    """
    points = torch.zeros(len(maps), regions, 2)
    labels = torch.full((len(maps), regions), _NO_POINT)
    inside = torch.zeros(len(maps), 1, *maps.shape[1:])
    temperature = (1 - _LEVEL) / float(np.log(2))
    for index, values in enumerate(maps.detach().float().cpu().numpy()):
        # At this temperature half the probability of the peak is `_LEVEL` of its height.
        found = pseudo_prompts(stretched(values), regions, 0.5, seed, temperature)
        points[index, : len(found)] = torch.from_numpy(found.points)
        labels[index, : len(found)] = 1
        inside[index, 0] = torch.from_numpy(found.regions.any(axis=0))
    return points.to(maps.device), labels.to(maps.device), inside.to(maps.device)


class SamBlock(nn.Module):
    """Prompt encoder and two-way attention of SAM between two 1 x 1 convolutions.

    Args:
        shape: sizes.
        channels: of the image features.
        width: of the result.
        regions: prompts of a class.
    """

    def __init__(self, shape: SamShape, channels: int, width: int, regions: int) -> None:
        super().__init__()
        from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig, Sam2PromptEncoderConfig
        from transformers.models.sam2.modeling_sam2 import Sam2PromptEncoder, Sam2TwoWayTransformer

        self.regions = regions
        self.project = nn.Conv2d(channels, shape.hidden, 1)
        self.prompt_encoder = Sam2PromptEncoder(Sam2PromptEncoderConfig(hidden_size=shape.hidden, image_size=_SIDE))
        decoder = Sam2MaskDecoderConfig(
            hidden_size=shape.hidden,
            mlp_dim=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
        )
        decoder._attn_implementation = "sdpa"
        self.transformer = Sam2TwoWayTransformer(decoder)
        self.fuse = nn.Conv2d(shape.hidden, width, 1)

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Image features as each class sees them.

        Args:
            image: `(B, d, h, w)`.
            maps: `(B, K, h, w)` of the classes, from which their prompts come.

        Returns:
            `(B, K, width, h, w)`.
        """
        batch, classes, height, width = maps.shape
        points, labels, inside = class_prompts(maps.flatten(0, 1), self.regions)
        scale = _SIDE / max(height, width)
        masks = F.interpolate((2 * inside - 1) * _CERTAIN, scale_factor=_FINER, mode="nearest")
        # SAM's encoder adds half a pixel to every point.
        sparse, dense = self.prompt_encoder((points * scale - 0.5)[:, None], labels[:, None], None, masks)
        cells = self.project(image).repeat_interleave(classes, dim=0) + dense
        positions = self._positions(height, width).expand(len(cells), -1, -1, -1)
        _, seen = self.transformer(sparse, cells, positions, None)
        grid = seen[:, 0].transpose(1, 2).reshape(len(cells), -1, height, width)
        fused: Tensor = self.fuse(grid)
        return fused.view(batch, classes, *fused.shape[1:])

    def _positions(self, height: int, width: int) -> Tensor:
        """SAM's code of the cells' centres, `(1, C, h, w)`."""
        weight = self.project.weight
        y, x = (torch.arange(n, device=weight.device, dtype=weight.dtype) + 0.5 for n in (height, width))
        grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1) / max(height, width)
        return cast(Tensor, self.prompt_encoder.shared_embedding(grid)).permute(2, 0, 1)[None]

    def take(self, model: PromptableModel) -> None:
        """Take prompt encoder and two-way attention from a model of the SAM family, `compact` included.

        Raises:
            ModelError: a model without them, or of other sizes.
        """
        holder: Any = getattr(model, "model", model)
        try:
            parts = {"prompt_encoder": holder.prompt_encoder, "transformer": holder.mask_decoder.transformer}
        except AttributeError:
            raise ModelError(
                f"expected a model with SAM's prompt encoder and two-way attention, got {model.family}; name a SAM file"
            ) from None
        for name, part in parts.items():
            own = getattr(self, name)
            state = _renamed(part.state_dict())
            wrong = sorted(k for k, v in own.state_dict().items() if k not in state or state[k].shape != v.shape)
            if wrong or len(state) != len(own.state_dict()):
                first = (wrong or ["one more"])[0]
                raise ModelError(f"expected the weights of SAM's {name}, got others in {model.family}, first {first}")
            own.load_state_dict(state)


_NAMES = ((".out_proj.", ".o_proj."), (".mlp.lin1.", ".mlp.proj_in."), (".mlp.lin2.", ".mlp.proj_out."))
"""SAM's names in transformers to SAM 2's; the modules compute the same."""


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of either family under SAM 2's names."""
    found: dict[str, Tensor] = {}
    points: dict[int, Tensor] = {}
    for key, value in state.items():
        if key.startswith("point_embed.") and key != "point_embed.weight":
            points[int(key.split(".")[1])] = value
            continue
        for old, new in _NAMES:
            key = key.replace(old, new)
        found[key] = value
    if points:
        found["point_embed.weight"] = torch.cat([points[i] for i in sorted(points)])
    return found
