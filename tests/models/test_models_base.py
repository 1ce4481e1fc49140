"""The geometry of pictures in the model's square."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.models.base import ImageGeometry


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), side=st.sampled_from([16, 24, 30]))
def test_restore_equals_enlarging_all_cutting_and_resizing(height, width, side):
    """The reference is SAM's post-processing, padding and all; 30 cells do not divide the square."""
    scale = 64 / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    logits = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(height))
    whole = F.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    expected = F.interpolate(whole, (height, width), mode="bilinear", align_corners=False)
    restored = ImageGeometry((height, width), size, 64).restore(logits)
    torch.testing.assert_close(restored, expected, atol=1e-6, rtol=1e-6)
