"""Small photos, a tiny model and a tiny prior for the tests of the stages; everything made in the test."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import skimage.data
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from glesam.data.readers.folder import FolderDataset
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.train.stages.prior import TEXT_FILE, make_scheduler


class KilledError(Exception):
    """Stands for a killed process."""


def photo_set(root, side=112):
    """Six crops of two photographs, each with a bright disc and a dark square as objects 1 and 2."""
    rng = np.random.default_rng(3)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(6):
        photo = (skimage.data.astronaut(), skimage.data.coffee())[i % 2]
        y, x = (int(rng.integers(0, n - 260)) for n in photo.shape[:2])
        image = cv2.resize(photo[y : y + 260, x : x + 260], (side, side), interpolation=cv2.INTER_AREA)
        mask = np.zeros((side, side), np.uint8)
        cv2.circle(mask, (30 + int(rng.integers(8)), 32 + int(rng.integers(44))), 18, 1, -1)
        x, y = 66 + int(rng.integers(10)), 18 + int(rng.integers(60))
        mask[y : y + 30, x : x + 30] = 2
        image[mask == 1], image[mask == 2] = (235, 210, 40), (15, 50, 160)
        cv2.imwrite(str(root / "images" / f"{i}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
    return FolderDataset(root)


def tiny_model(folder, image_size=64):
    """Save a compact model with random weights, skips included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CompactModel(CompactConfig("lite0", image_size, attention_blocks=1, conv_blocks=1))
        # He's initialisation lets the image through all layers; with torch's own, biases drown it.
        for layer in model.encoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                torch.nn.init.zeros_(layer.bias)
    model.save_pretrained(folder)
    return folder


def tiny_prior(folder):
    """Save a U-Net of two levels with random weights in diffusers' layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    unet.save_pretrained(folder / "unet")
    make_scheduler().save_pretrained(folder / "scheduler")
    save_file({"text_embedding": torch.ones(1, 1, 8)}, folder / TEXT_FILE)
    return folder


def losses_of(stage, out, resume=False, stop=None):
    """Train a stage; give its losses step by step, and raise `KilledError` after step `stop`."""
    from glesam.train.loop import Trainer

    losses = []

    def on_step(step, total, values):
        losses.append(values["loss"])
        if step == stop:
            raise KilledError

    runner = Trainer(stage, out, resume, on_step)
    with contextlib.suppress(KilledError):
        runner.run()
    return losses


def resumes_exactly(make_stage, tmp_path, stop):
    """Train once whole, once killed after `stop` steps and resumed: the losses must be the same numbers."""
    whole = losses_of(make_stage(), tmp_path / "whole")
    first = losses_of(make_stage(), tmp_path / "parts", stop=stop)
    second = losses_of(make_stage(), tmp_path / "parts", resume=True)
    assert len(first) == stop
    assert len(second) == len(whole) - stop
    assert first + second == whole
    assert len(set(whole)) == len(whole)
