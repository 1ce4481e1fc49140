"""Feature maps against the latents that they show."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from train_tiny import tiny_model

from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.errors import ConfigError
from glesam.models.compact.model import CompactModel
from latent_maps import draw_feature_maps, feature_row


def test_maps_are_means_over_channels_without_the_padding(tmp_path):
    model = CompactModel.from_pretrained(tiny_model(tmp_path / "m", 128))
    clean = skimage.data.coffee()[::4, ::4]
    degraded = (clean // 2).astype(np.uint8)
    row = feature_row(model, Restoration(lambda latent: latent + 1.5), clean, degraded, "coffee")
    with torch.inference_mode():
        latents = [model.encode(model.preprocess(image)[0]).latent[0].numpy() for image in (clean, degraded)]
    height = round(8 * clean.shape[0] / clean.shape[1])
    for ours, theirs in zip(row.maps, (latents[0], latents[1], latents[1] + 1.5), strict=True):
        assert ours.shape == (height, 8)
        np.testing.assert_allclose(ours, theirs.mean(axis=0)[:height], atol=1e-4)
    difference = (latents[1] - latents[0])[:, :height]
    assert row.errors == pytest.approx([np.sqrt((d**2).mean()) for d in (difference, difference + 1.5)], rel=1e-4)
    path = draw_feature_maps([row, row], tmp_path / "maps.png")
    assert Image.open(path).size[0] > 1000
    with pytest.raises(ConfigError, match="one size"):
        feature_row(model, Restoration(), clean, degraded[:-1], "x")


def test_photos_encoded_anew_at_another_size_are_compared_at_that_size(tmp_path):
    model = CompactModel.from_pretrained(tiny_model(tmp_path / "m", 128))
    clean = skimage.data.coffee()[::4, ::4]
    degraded = (clean // 2).astype(np.uint8)
    rules = (LevelRule(0, image_size=64),)
    row = feature_row(model, Restoration(lambda latent: latent - 0.5, rules=rules), clean, degraded, "coffee")
    height = round(4 * clean.shape[0] / clean.shape[1])
    with torch.inference_mode():
        squares = [model.preprocess(image)[0] for image in (clean, degraded)]
        small = [torch.nn.functional.interpolate(s, (64, 64), mode="bilinear", antialias=True) for s in squares]
        latents = [model.encode(s).latent[0].numpy() for s in small]
    for ours, theirs in zip(row.maps, (latents[0], latents[1], latents[1] - 0.5), strict=True):
        np.testing.assert_allclose(ours, theirs.mean(axis=0)[:height], atol=1e-4)
