"""Images as a client would send them."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def encoded(seed: int = 0, width: int = 60, height: int = 40, form: str = "PNG") -> bytes:
    """An image of smooth random colours."""
    blobs = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC).save(stream, form)
    return stream.getvalue()


def text_of(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()
