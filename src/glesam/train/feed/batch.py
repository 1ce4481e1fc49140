"""What the stages' data sets give: one batch by name."""

from __future__ import annotations

from torch import Tensor

Batch = dict[str, Tensor]
