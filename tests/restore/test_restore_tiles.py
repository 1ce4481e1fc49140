import pytest
import torch
from torch import Tensor, nn

from glesam.errors import ConfigError
from glesam.restore.tiles import Tiling, run_tiled


def network(channels: int = 2, strided: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 5, padding=2),
        nn.ReLU(),
    ]
    if strided:
        layers += [nn.Conv2d(6, 6, 4, stride=4), nn.Conv2d(6, 6, 3, padding=1), nn.ConvTranspose2d(6, 6, 4, stride=4)]
    return nn.Sequential(*layers, nn.Conv2d(6, channels, 3, padding=1)).eval()


@pytest.mark.parametrize("size", [(96, 130), (41, 200), (67, 33)])
@torch.inference_mode()
def test_tiles_equal_the_whole_for_convolutions(size: tuple[int, int]) -> None:
    net, pixels = network(), torch.rand(1, 2, *size)
    tiled = run_tiled(net, pixels, Tiling(tile=48, overlap=16, margin=4, multiple=1))
    assert torch.allclose(tiled, net(pixels), atol=1e-5)


@torch.inference_mode()
def test_tiles_equal_the_whole_for_strided_networks_whose_cells_they_keep() -> None:
    net, pixels = network(strided=True), torch.rand(1, 2, 96, 128)
    # Reach: 1 + 2 + 1 pixels, a cell on each side, and what a pixel misses of its own cell.
    tiled = run_tiled(net, pixels, Tiling(tile=64, overlap=28, margin=13, multiple=4))
    assert torch.allclose(tiled, net(pixels), atol=1e-5)


@torch.inference_mode()
def test_without_a_margin_the_cut_shows() -> None:
    net, pixels = network(), torch.rand(1, 2, 96, 130)
    tiled = run_tiled(net, pixels, Tiling(tile=48, overlap=16, margin=0, multiple=1))
    assert not torch.allclose(tiled, net(pixels), atol=1e-3)


def test_sides_are_padded_with_their_edge_and_cut_again() -> None:
    seen: list[Tensor] = []

    def keep(tile: Tensor) -> Tensor:
        seen.append(tile)
        return tile

    pixels = torch.rand(1, 3, 13, 21)
    assert torch.equal(run_tiled(keep, pixels, Tiling(tile=64, overlap=16, margin=4, multiple=8)), pixels)
    assert seen[0].shape == (1, 3, 16, 24)
    assert torch.equal(seen[0][..., 12:, :21], pixels[..., 12:13, :].expand(1, 3, 4, 21))


def test_networks_of_one_size_get_that_size_only() -> None:
    shapes = set()

    def keep(tile: Tensor) -> Tensor:
        shapes.add(tuple(tile.shape[-2:]))
        return tile

    tiling = Tiling(tile=32, overlap=8, margin=2, multiple=1, fixed=True)
    for size in ((10, 70), (32, 32), (50, 33)):
        pixels = torch.rand(1, 3, *size)
        assert torch.allclose(run_tiled(keep, pixels, tiling), pixels, atol=1e-6)
    assert shapes == {(32, 32)}


@pytest.mark.parametrize(
    ("tile", "overlap", "margin", "multiple"), [(30, 8, 2, 8), (32, 32, 2, 8), (32, 8, 5, 8), (32, 8, -1, 8)]
)
def test_numbers_that_do_not_fit_together_are_refused(tile: int, overlap: int, margin: int, multiple: int) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        Tiling(tile, overlap, margin, multiple)
