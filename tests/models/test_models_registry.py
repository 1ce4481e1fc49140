"""The table of presets and the one door: names, folders, original files, digests, devices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from models_original import OriginalSam
from models_tiny import randomise, sam2_tiny, sam_tiny, sam_tiny_config

from glesam.common.files import sha256
from glesam.errors import ModelError
from glesam.models import registry
from glesam.models.base import PromptableModel
from glesam.models.compact.model import CompactModel
from glesam.models.registry import load_model, local_weights, model_info, presets
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.weights.folders import seal


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLESAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)


def no_network(*_: object, **__: object) -> str:
    raise ConnectionError("no route to host")


def test_table() -> None:
    names = [p.name for p in presets()]
    assert names == [
        "compact",
        "mobile-sam",
        *(f"sam-vit-{s}" for s in "blh"),
        *(f"sam2.1-hiera-{s}" for s in ("tiny", "small", "base-plus", "large")),
        *(f"sam2-hiera-{s}" for s in ("tiny", "small", "base-plus", "large")),
    ]
    for preset in presets()[1:]:
        assert preset.family in registry.FAMILIES
        assert re.fullmatch("[0-9a-f]{64}", preset.sha256 or "")
        assert preset.original_url.startswith(
            ("https://dl.fbaipublicfiles.com/segment_anything", "https://github.com/")
        )
        # float32 weights of about this many parameters (in millions): the papers' tables, video memory included.
    millions = dict(zip(names[1:], (10.1, 91, 308, 636, 39, 46, 81, 224, 39, 46, 81, 224), strict=True))
    for preset in presets()[1:]:
        assert (preset.size or 0) / 4e6 == pytest.approx(millions[preset.name], rel=0.05)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("sam-vitb", "did you mean 'sam-vit-b"),
        ("SAM-ViT-H", "did you mean 'sam-vit-h"),
        ("sam2", "'sam2.1-hiera-tiny' or"),
    ],
)
def test_unknown_names_get_near_ones(name: str, near: str) -> None:
    for ask in (load_model, model_info):
        with pytest.raises(ModelError, match=near) as caught:
            ask(name)
        assert "known: compact, mobile-sam, sam-vit-b" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("sam3", "that is SAM 3: use sam2.1-hiera-large"),
        ("EdgeTAM", "that is EdgeTAM: use sam2.1-hiera-tiny"),
        ("efficient_sam_vitt", "that is EfficientSAM: use mobile-sam or compact"),
        ("edge-sam", "that is EdgeSAM: use mobile-sam or compact"),
        ("sam-hq", "that is HQ-SAM: give the path of its authors' file, such as sam_hq_vit_b.pth"),
        ("robustsam", "that is RobustSAM: give the path of its authors' file"),
        ("MobileSAM", "did you mean 'mobile-sam'"),
    ],
)
def test_names_of_models_that_are_no_presets_get_their_own_advice(name: str, advice: str) -> None:
    with pytest.raises(ModelError, match=advice):
        load_model(name)


@pytest.mark.parametrize(
    ("model_type", "advice"),
    [
        ("sam3_video", "that is SAM 3: use sam2.1-hiera-large"),
        ("sam3_tracker", "that is SAM 3: use sam2.1-hiera-large"),
        ("edgetam_video", "that is EdgeTAM: use sam2.1-hiera-tiny"),
        ("sam_hq", "that is HQ-SAM: give the path of its authors' file, such as sam_hq_vit_b.pth"),
        ("resnet", "use a folder that glesam or transformers saved"),
    ],
)
def test_transformers_folders_of_other_models_get_their_own_advice(
    model_type: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    with pytest.raises(ModelError, match=f"got '{model_type}'; {advice}"):
        load_model(tmp_path)


def test_a_name_like_nothing_gets_the_list() -> None:
    with pytest.raises(ModelError, match="got 'qqqq'; known: compact"):
        load_model("qqqq")


@pytest.mark.parametrize("name", ["sam-vit-b", "sam2.1-hiera-large"])
def test_missing_weights_say_what_from_where_and_into_which_folder(name: str, tmp_path: Path) -> None:
    preset = model_info(name).preset
    with pytest.raises(ModelError) as caught:
        load_model(name)
    message = str(caught.value)
    assert preset.original_url + preset.original_file in message
    assert str(tmp_path / "home") in message
    assert f"({round((preset.size or 0) / 1e6)} MB)" in message
    assert "no route to host" in message
    assert "\n" not in message


@pytest.mark.parametrize("path", ["sam_vit_x.pth", "nowhere/model.pt", "a.safetensors"])
def test_missing_files(path: str) -> None:
    with pytest.raises(ModelError, match="got no such file"):
        load_model(path)


def test_folders_by_family(tmp_path: Path) -> None:
    SamPromptable(sam_tiny()).save_pretrained(tmp_path / "sam")
    Sam2Promptable(sam2_tiny()).save_pretrained(tmp_path / "sam2")
    sam_tiny().save_pretrained(tmp_path / "transformers")
    for name, kind in (("sam", SamPromptable), ("sam2", Sam2Promptable), ("transformers", SamPromptable)):
        model = load_model(tmp_path / name, dtype="bf16")
        assert type(model) is kind
        assert isinstance(model, PromptableModel)
        assert model.dtype == torch.bfloat16
        assert not model.training
    (tmp_path / "sam" / "config.json").write_text('{"family": "resnet"}')
    expected = r"expected a family of compact, mobile-sam, sam, sam2, headed, exported in .* got 'resnet'"
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path / "sam")


def test_hub_ids_load_the_fetched_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SamPromptable(sam_tiny()).save_pretrained(tmp_path / "snapshot")
    asked = []

    def download(repository: str, **options: object) -> str:
        asked.append((repository, options["local_files_only"]))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert isinstance(load_model("owner/name", local_files_only=True), SamPromptable)
    assert isinstance(load_model("sam-vit-b"), SamPromptable)
    assert asked == [("owner/name", True), ("facebook/sam-vit-base", False)]


def test_original_files_and_their_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "home" / "sam_vit_b_01ec64.pth"
    path.parent.mkdir()
    torch.save(randomise(OriginalSam(sam_tiny_config())).state_dict(), path)
    with pytest.raises(ModelError, match=r"with SHA-256 ec2df627.* rename it if you changed it"):
        load_model(path)
    assert isinstance(load_model(path.rename(path.with_name("mine.pth"))), SamPromptable)
    path.with_name("mine.pth").rename(path)

    from dataclasses import replace

    table = tuple(replace(p, sha256=sha256(path)) if p.name == "sam-vit-b" else p for p in presets())
    monkeypatch.setattr(registry, "_PRESETS", table)
    assert isinstance(load_model("sam-vit-b"), SamPromptable)
    info = model_info("sam-vit-b")
    assert (info.location, info.size) == (path, path.stat().st_size)
    with pytest.raises(ModelError, match=r"expected a folder or a file of .pth"):
        load_model(path.rename(path.with_suffix(".bin")))


def test_info_of_what_is_not_here() -> None:
    info = model_info("sam2.1-hiera-tiny")
    assert (info.location, info.size) == (None, 156_008_466)


def test_bundled_model_is_checked_against_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "COMPACT_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"expected the bundled model in .* install glesam again"):
        load_model("compact")
    CompactModel().save_pretrained(tmp_path, half=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    del config["sha256"]
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="with SHA-256 None"):
        load_model("compact")
    seal(tmp_path)
    assert isinstance(load_model("compact"), CompactModel)
    assert model_info("compact").size == (tmp_path / "model.safetensors").stat().st_size
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model("compact")


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"device": "cuda:77"},
        {"device": "mps"},
        {"device": "meta"},
        {"device": "cpu:1"},
        {"dtype": "int8"},
    ],
)
def test_devices_and_types_that_are_not_here(options: dict[str, str], tmp_path: Path) -> None:
    if options.get("device") == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has mps")
    SamPromptable(sam_tiny()).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"expected a d(evice|type)") as caught:
        load_model(tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_the_table_is_light() -> None:
    code = "import sys, glesam.models.registry as r; r.presets(); print('torch' in sys.modules or 'PIL' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_name_comes_before_a_folder_that_bears_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("compact", "sam-vit-b", "mine"):
        SamPromptable(sam_tiny()).save_pretrained(name)
    assert local_weights("compact") == registry.COMPACT_FOLDER
    assert local_weights("sam-vit-b") is None  # would be downloaded
    assert isinstance(load_model("compact"), CompactModel)
    with pytest.raises(ModelError, match="sam_vit_b_01ec64"):
        load_model("sam-vit-b")
    for name in ("./compact", "./sam-vit-b", "mine", tmp_path / "compact"):
        assert local_weights(name) == Path(name)
        assert isinstance(load_model(name), SamPromptable)
    assert local_weights("owner/name") is None
