from pathlib import Path

import numpy as np
import torch

from glesam.restore.networks import open_unet, unet_restorer
from glesam.restore.tiles import Tiling, run_tiled
from glesam.restore.unet import RestorationUnet


def network(widths: tuple[int, ...] = (8, 12, 16)) -> RestorationUnet:
    torch.manual_seed(0)
    net = RestorationUnet(widths).eval()
    for parameter in net.tail.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return net


def test_a_new_network_is_the_identity() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    assert np.array_equal(unet_restorer(RestorationUnet()).restore(image), image)


def test_nothing_acts_from_beyond_the_reach() -> None:
    net = network()
    pixels = torch.rand(1, 3, 192, 200, requires_grad=True)
    for y, x in ((95, 99), (96, 100), (101, 103)):
        (gradient,) = torch.autograd.grad(net(pixels)[0, :, y, x].sum(), pixels)
        rows, columns = gradient[0].abs().sum(dim=0).nonzero(as_tuple=True)
        distance = max(int((rows - y).abs().max()), int((columns - x).abs().max()))
        assert net.reach - 2 * net.multiple < distance <= net.reach


@torch.inference_mode()
def test_tiles_equal_the_whole() -> None:
    net, pixels = network(), torch.rand(1, 3, 168, 400)
    tiling = Tiling(tile=240, overlap=2 * net.reach + 16, margin=net.reach, multiple=net.multiple)
    assert torch.allclose(run_tiled(net, pixels, tiling), net(pixels), atol=1e-5)


def test_saved_and_loaded_in_half_precision(tmp_path: Path) -> None:
    net = network()
    net.save_pretrained(tmp_path)
    again = RestorationUnet.from_pretrained(tmp_path)
    pixels = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.allclose(again(pixels), net.half().float()(pixels), atol=1e-6)
    image = (pixels[0].permute(1, 2, 0) * 255).byte().numpy()
    with torch.inference_mode():
        values = again(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    expected = (values.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).numpy()
    assert np.array_equal(open_unet(str(tmp_path)).restore(image), expected)


def test_the_default_is_small_on_disk(tmp_path: Path) -> None:
    RestorationUnet().save_pretrained(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000_000
