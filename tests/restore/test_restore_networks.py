from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from scipy.ndimage import uniform_filter
from torch import Tensor, nn
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.restore.registry import load_restorer


class Blur(nn.Module):
    """The mean of 3 x 3 pixels; at the edge, of those that are there."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


class Cropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., 1:, :]


def image(height: int, width: int) -> RGB:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blurred(given: RGB) -> np.ndarray:
    return np.stack([uniform_filter(given[..., c].astype(float), 3, mode="nearest") for c in range(3)], axis=-1)


def scripted(module: nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))
    return f"torchscript:{path}"


def restore(text: str, given: RGB) -> RGB:
    restorer = load_restorer(text)
    assert restorer is not None
    return restorer.restore(given)


def onnx_blur(path: Path, sides: list[int | str]) -> str:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, *sides]) for n in ("x", "y")]
    model = helper.make_model(
        helper.make_graph([node], "blur", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, str(path))
    return f"onnx:{path}"


@pytest.mark.parametrize("size", [(30, 40), (80, 700)])
def test_a_torchscript_file_runs_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    given = image(*size)
    result = restore(scripted(Blur(), tmp_path / "blur.pt"), given)
    # Padding repeats the edge, so only the image's own border may differ from scipy's.
    inner = np.s_[1:-1, 1:-1]
    assert np.abs(result[inner] - blurred(given)[inner]).max() <= 0.51


def test_a_network_that_enlarges_is_averaged_back(tmp_path: Path) -> None:
    given = image(33, 70)
    assert np.array_equal(restore(scripted(Doubled(), tmp_path / "double.pt"), given), given)


class Twice(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan")


@pytest.mark.parametrize(
    ("network", "words"),
    [(nn.Conv2d(1, 1, 1), "to take"), (Twice(), "got tuple"), (Broken(), "not finite"), (nn.Conv2d(3, 1, 1), "whole")],
)
def test_a_network_that_restores_no_images_is_refused_in_one_line(
    tmp_path: Path, network: nn.Module, words: str
) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        restore(scripted(network, tmp_path / "net.pt"), image(40, 30))
    assert "\n" not in str(caught.value)


def test_an_onnx_file_of_another_type_is_refused_in_one_line(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1, 3, "h", "w"]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "half", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "h.onnx")
    with pytest.raises(ModelError, match=r"to take \(1, 3, 64, 64\) float32") as caught:
        restore(f"onnx:{tmp_path / 'h.onnx'}", image(40, 30))
    assert "\n" not in str(caught.value)


def test_a_network_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="whole multiple"):
        restore(scripted(Cropped(), tmp_path / "crop.pt"), image(64, 64))


@pytest.mark.parametrize("sides", [["h", "w"], [64, 64]])
@pytest.mark.parametrize("size", [(20, 30), (64, 64), (130, 97)])
def test_an_onnx_file_runs_with_free_and_fixed_sides(
    tmp_path: Path, sides: list[int | str], size: tuple[int, int]
) -> None:
    given = image(*size)
    result = restore(onnx_blur(tmp_path / "blur.onnx", sides), given)
    inner = np.s_[1:-1, 1:-1]
    assert np.abs(result[inner] - blurred(given)[inner]).max() <= 0.51


def test_an_onnx_file_of_an_oblong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="equal height and width"):
        load_restorer(onnx_blur(tmp_path / "oblong.onnx", [32, 64]))


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_other_files_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no network")
    for text in (f"{kind}:{path}", f"{kind}:{tmp_path / 'absent'}"):
        with pytest.raises(ModelError) as caught:
            load_restorer(text)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = Swin2SRConfig(
        embed_dim=12, depths=[1], num_heads=[2], window_size=4, image_size=16, upscale=2, upsampler="pixelshuffledirect"
    )
    folder = tmp_path_factory.mktemp("swin2sr")
    Swin2SRForImageSuperResolution(config).eval().save_pretrained(folder)
    return folder


def test_swin2sr_gives_what_transformers_gives(swin: Path) -> None:
    given = image(24, 32)
    model = Swin2SRForImageSuperResolution.from_pretrained(swin).eval()
    with torch.inference_mode():
        large = model(torch.from_numpy(given).permute(2, 0, 1)[None].float() / 255).reconstruction[0].numpy()
    assert large.shape == (3, 48, 64)
    small = large.reshape(3, 24, 2, 32, 2).mean(axis=(2, 4)).transpose(1, 2, 0)
    expected = np.clip(small, 0, 1) * 255
    assert np.abs(restore(f"swin2sr:{swin}", given) - expected).max() <= 0.5 + 1e-3


def test_swin2sr_folders_of_other_weights_have_other_keys_whatever_their_files(swin: Path, tmp_path: Path) -> None:
    keys = {}
    model = Swin2SRForImageSuperResolution.from_pretrained(swin)
    for name in ("same", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text((swin / "config.json").read_text())
        torch.save(model.state_dict(), tmp_path / name / "pytorch_model.bin")
        restorer = load_restorer(f"swin2sr:{tmp_path / name}")
        assert restorer is not None
        keys[name] = restorer.key
        next(model.parameters()).data.add_(1)
    plain = load_restorer(f"swin2sr:{swin}")
    assert plain is not None
    assert keys["same"] == plain.key != keys["other"]


def test_swin2sr_without_a_key_or_of_another_model_is_refused(swin: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(swin / "model.safetensors")
    state.pop(sorted(state)[0])
    (tmp_path / "config.json").write_text((swin / "config.json").read_text())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="do not fit"):
        load_restorer(f"swin2sr:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(ModelError, match="'sam'"):
        load_restorer(f"swin2sr:{tmp_path}")
