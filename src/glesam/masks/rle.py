"""COCO's run-length encoding of masks, in numpy: the same text as pycocotools, as `str`, so that it is JSON at once.

A mask is read column by column; runs of outside and inside pixels alternate, outside first (perhaps of length 0). The
text stores each run, from the fourth on as difference to the run two before, in groups of 5 bits, lowest first:
`char = 48 + bits + 32 * more`, with the sign in bit 4 of the last group.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.common.documents import brief_value
from glesam.errors import DataError

Runs = npt.NDArray[np.int64]

_MAX_GROUPS = 7
"""Groups of 5 bits that a run can take: 35 bits, where the largest image has fewer than 32."""


def encode(mask: Bool) -> dict[str, Any]:
    """Encode an `(H, W)` bool mask as `{"size": [H, W], "counts": str}`."""
    height, width = mask.shape
    return {"size": [height, width], "counts": runs_to_text(mask_to_runs(mask))}


def decode(rle: Any) -> Bool:
    """Decode `{"size": [H, W], "counts": ...}` with counts as text, ASCII bytes or a list of runs.

    Returns:
        `(H, W)` bool.

    Raises:
        DataError: keys are missing, the text is no run-length code, or the runs do not fill the size.
    """
    if not isinstance(rle, dict) or not {"size", "counts"} <= rle.keys():
        raise DataError(
            f"expected a run-length code with size and counts, got {brief_value(rle)}; encode masks as COCO RLE"
        )
    size, counts = rle["size"], rle["counts"]
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise DataError(f"expected a size [H, W] of positive integers, got {brief_value(size)}; give the image's size")
    runs = text_to_runs(counts) if isinstance(counts, (str, bytes)) else _listed_runs(counts)
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise DataError(f"expected runs that fill {size[0]}x{size[1]} pixels, got {runs.sum()}; encode the mask again")
    return runs_to_mask(runs, (size[0], size[1]))


def mask_to_runs(mask: Bool) -> Runs:
    """Lengths of runs of an `(H, W)` mask in column order, outside first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).astype(np.int64)
    return np.concatenate([[0], runs]) if flat.size and flat[0] else runs


def runs_to_mask(runs: Runs, size: tuple[int, int]) -> Bool:
    """The `(H, W)` mask of runs that fill it."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(size[1], size[0]).T)


def runs_to_text(runs: Runs) -> str:
    """Pack runs into COCO's text."""
    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    chars, used = [], []
    active = np.ones(len(rest), bool)
    while active.any():
        bits = rest & 31
        rest = rest >> 5
        # A number ends when what is left is only copies of the sign bit.
        more = np.where(bits & 16, rest != -1, rest != 0)
        chars.append(48 + bits + 32 * more)
        used.append(active)
        active = active & more
    text: bytes = np.stack(chars, 1)[np.stack(used, 1)].astype(np.uint8).tobytes()
    return text.decode("ascii")


def text_to_runs(text: str | bytes) -> Runs:
    """Unpack COCO's text.

    Raises:
        DataError: a foreign character, an unfinished or overlong number, or no text.
    """
    raw = text.encode("utf-8") if isinstance(text, str) else text
    codes = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not codes.size or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise DataError(
            f"expected COCO run-length text, got {brief_value(text)}; use counts as pycocotools writes them"
        )
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_GROUPS:
        raise DataError(
            f"expected COCO run-length text, got a run of over 35 bits in {brief_value(text)}; encode it again"
        )
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _listed_runs(counts: Any) -> Runs:
    """Runs given as a list of integers, COCO's uncompressed form."""
    runs = np.asarray(counts) if isinstance(counts, (list, tuple, np.ndarray)) else np.zeros(0)
    if runs.ndim != 1 or runs.dtype.kind not in "iu":
        raise DataError(
            f"expected counts as text or a list of integers, got {brief_value(counts)}; encode masks as COCO RLE"
        )
    return runs.astype(np.int64)
