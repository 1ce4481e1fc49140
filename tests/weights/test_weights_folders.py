"""Folders of saved models: digests, the user's folder, and what is said when files are missing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import glesam
from glesam.errors import DataError, ModelError
from glesam.weights.folders import (
    brief,
    fetch_folder,
    load_module,
    read_config,
    read_weights,
    save_module,
    save_tensors,
    seal,
    user_folder,
    verify_seal,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"family": "compact", "image_size": 512}')
    (tmp_path / "model.safetensors").write_bytes(b"some weights")
    return tmp_path


def test_seal_and_verify(folder: Path) -> None:
    verify_seal(folder)
    with pytest.raises(ModelError, match="with SHA-256 None"):
        verify_seal(folder, required=True)
    assert seal(folder) == hashlib.sha256(b"some weights").hexdigest()
    assert read_config(folder)["image_size"] == 512
    verify_seal(folder, required=True)
    (folder / "model.safetensors").write_bytes(b"some weightz")
    with pytest.raises(ModelError, match=hashlib.sha256(b"some weightz").hexdigest()):
        verify_seal(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no such file"):
        verify_seal(folder)


def test_a_sealed_module_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 3)
    save_module(tmp_path, layer, "line", {})
    seal(tmp_path)
    build = lambda options: torch.nn.Linear(2, 3)  # noqa: E731
    assert torch.equal(load_module(tmp_path, "line", build).weight, layer.weight)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        load_module(tmp_path, "line", build)


@pytest.mark.parametrize("part", ["subject", "words", "words/heads", "words/none", "compact"])
def test_what_ships_alone_is_sealed(part: str) -> None:
    verify_seal(Path(glesam.__file__).parent / "models" / "weights" / part, required=True)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\udcff"])
def test_configs_that_are_none(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, errors="surrogateescape")
    with pytest.raises(ModelError):
        read_config(folder)


@pytest.mark.parametrize("key", ["family", "model_type"])
@pytest.mark.parametrize("value", ["{}", "[1]", "7", "null"])
def test_a_family_is_a_text(folder: Path, key: str, value: str) -> None:
    (folder / "config.json").write_text(f'{{"{key}": {value}}}')
    with pytest.raises(ModelError, match=f"expected a text under '{key}'"):
        read_config(folder)


def test_weights_that_are_none(folder: Path) -> None:
    with pytest.raises(ModelError, match="expected weights in"):
        read_weights(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="expected weights in"):
        read_weights(folder)


def test_user_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLESAM_HOME", "~/weights")
    assert user_folder() == Path.home() / "weights"
    monkeypatch.delenv("GLESAM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_folder() == Path("/somewhere/glesam")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_folder() == Path.home() / ".cache" / "glesam"


def test_fetch_folder(folder: Path) -> None:
    assert fetch_folder(folder) == folder
    assert fetch_folder(str(folder)) == folder
    with pytest.raises(ModelError, match="in the hub's cache") as caught:
        fetch_folder("glesam-tests/no-such-model", local_files_only=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="expected 'a/b/c/d' to be a folder"):
        fetch_folder("a/b/c/d", local_files_only=True)


def test_fetch_folder_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> str:
        raise ConnectionError("Got: no route to host\nPlease check")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)
    with pytest.raises(ModelError, match="repository in the hub, got no route to host; check the name and the network"):
        fetch_folder("glesam-tests/no-such-model")


def test_brief_is_one_short_line() -> None:
    assert brief(ValueError("first\nsecond")) == "first"
    assert brief(ValueError()) == "no reason is given"
    assert len(brief(ValueError("x" * 500))) == 160


def test_sealed_config_stays_json(folder: Path) -> None:
    seal(folder)
    assert set(json.loads((folder / "config.json").read_text())) == {"family", "image_size", "sha256"}


def test_weights_on_a_full_disk_are_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(DataError, match=r"got '.*No space left.*'; free some space") as caught:
        save_tensors(tmp_path, {"a": torch.zeros(1)}, {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [2**63, -(10**30), 1e308, [[{"width": 10**6}]]])
def test_sizes_that_no_model_has_are_refused_before_memory_is_taken(folder: Path, value: object) -> None:
    (folder / "config.json").write_text(json.dumps({"family": "compact", "image_size": value}))
    with pytest.raises(ModelError, match="sizes of at most 16384"):
        read_config(folder)


def test_options_of_wrong_types_are_one_line(folder: Path) -> None:
    def build(options: dict[str, object]) -> torch.nn.Module:
        return torch.nn.Linear(options["image_size"].missing, 3)  # type: ignore[attr-defined]

    with pytest.raises(ModelError, match="expected the options of compact in") as caught:
        load_module(folder, "compact", build)
    assert "\n" not in str(caught.value)
