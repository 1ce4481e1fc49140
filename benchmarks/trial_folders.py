"""Inputs of the trials in `kill_trials.py`, and what their results are compared by."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

FRAMES = 30
"""More than lie between two checkpoints of a clip."""
CONFIG = {
    "steps": 8,
    "batch_size": 2,
    "image_size": 32,
    "widths": [4, 8],
    "depth": 1,
    "save_minutes": 1e-4,
    "val_minutes": 60,
    "val_images": 2,
    "workers": 0,
    "warmup": 1,
}
"""A training of the restorer that saves after almost every step; when it validates must not hang on a clock."""


def make_inputs(work: Path) -> None:
    """Images with masks as a data set in `in/`, a clip, a small model, and the configuration of a training.

    Args:
        work: folder that is there.
    """
    for part in ("images", "masks"):
        (work / "in" / part).mkdir(parents=True)
    for number in range(5):
        blobs = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        image = Image.fromarray(blobs).resize((120, 100), Image.Resampling.BICUBIC)
        image.save(work / "in" / "images" / f"p{number}.jpg")
        mask = np.zeros((100, 120), np.uint8)
        mask[20:60, 15 + number : 75] = 1
        Image.fromarray(mask).save(work / "in" / "masks" / f"p{number}.png")
    writer = cv2.VideoWriter(str(work / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    ground = np.asarray(image.resize((96 + FRAMES, 64)))[..., ::-1]
    for frame in range(FRAMES):
        writer.write(np.ascontiguousarray(ground[:, frame : frame + 96]))
    writer.release()
    (work / "train.json").write_text(json.dumps(CONFIG))
    make_model(work / "model")


def make_model(folder: Path) -> None:
    """Save a SAM of random weights that takes milliseconds an image; its masks are as good as any to compare."""
    import torch
    from transformers import SamConfig, SamModel
    from transformers.utils.logging import disable_progress_bar

    vision = {
        "hidden_size": 24,
        "output_channels": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "image_size": 64,
        "global_attn_indexes": [0],
        "num_pos_feats": 16,
        "mlp_dim": 48,
    }
    prompts = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    decoder = {"hidden_size": 32, "mlp_dim": 48, "iou_head_hidden_dim": 32}
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder))
    generator = torch.Generator().manual_seed(1)  # of the first few seeds, one that finds something
    for tensor in model.state_dict().values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    disable_progress_bar()
    model.save_pretrained(folder)


def content(folder: Path) -> dict[str, str]:
    """Digest of every file, hidden ones too, without what a clock says.

    Args:
        folder: of results.

    Returns:
        Path in the folder to digest; TensorBoard's files count as one.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and "tensorboard" in name.parts:
            place = folder.joinpath(*name.parts[: name.parts.index("tensorboard") + 1])
            found[place.relative_to(folder).as_posix()] = _digest(repr(scalars(place)).encode())
        elif path.is_file():
            found[name.as_posix()] = _digest(timeless(path))
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def timeless(path: Path) -> bytes:
    """A file's bytes; of tables, reports and journals without seconds, of checkpoints the tensors."""
    if path.name.startswith("."):
        return path.read_bytes()  # a lock, a state, or what a killed run left over
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(newline="")))
        return repr([{key: value for key, value in row.items() if "seconds" not in key} for row in rows]).encode()
    if path.suffix == ".json":
        return json.dumps(_without_seconds(json.loads(path.read_bytes()))).encode()
    if path.suffix == ".md":
        return "\n".join(_without_milliseconds(path.read_text().splitlines())).encode()
    if path.suffix == ".pt":
        import torch

        return _of_tensors(torch.load(path, weights_only=True))
    return path.read_bytes()


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(each) for key, each in value.items() if "seconds" not in key}
    return [_without_seconds(each) for each in value] if isinstance(value, list) else value


def _without_milliseconds(lines: list[str]) -> list[str]:
    """Markdown whose tables lack the columns of milliseconds."""
    found, kept = [], None
    for line in lines:
        cells = line.split("|") if line.startswith("|") else None
        if cells is None:
            kept = None
        elif kept is None:
            kept = [number for number, cell in enumerate(cells) if not cell.strip().endswith(" ms")]
        found.append(line if cells is None or kept is None else "|".join(cells[number] for number in kept))
    return found


def _of_tensors(value: Any) -> bytes:
    """Containers of tensors as bytes that say all that they hold."""
    if isinstance(value, dict):
        return b"".join(repr(key).encode() + _of_tensors(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return b"".join(map(_of_tensors, value))
    return value.numpy().tobytes() if hasattr(value, "numpy") else repr(value).encode()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: the points of each curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder))
    shown.Reload()
    tags = sorted(shown.Tags()["scalars"])
    return {tag: [(event.step, event.value) for event in shown.Scalars(tag)] for tag in tags}
