"""What `glesam segment` adds for a folder: the device of each of several jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from glesam.cli.segment.folder import device_of
from glesam.folders.ranks import Place


@pytest.mark.parametrize("found", ["cuda", "mps", "cpu"])
def test_jobs_have_a_gpu_each_but_with_an_exported_model(
    found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: found == "cuda")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: found == "mps")
    monkeypatch.chdir(tmp_path)
    for name in ("exported", "compact"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"family": "exported", "format": "onnx"}')
    alone, second = Place(), Place(rank=5, world=8, local_rank=1)
    for name, exported in (("exported", True), ("./compact", True), ("compact", False), ("sam-vit-b", False)):
        # One job leaves the choice to the loader, which knows that an exported model takes the CPU.
        assert device_of("auto", alone, name) == "auto"
        assert device_of("cuda", alone, name) == "cuda"
        own = "cuda:1" if found == "cuda" else found
        assert device_of("auto", second, name) == ("cpu" if exported else own)
        assert device_of("cuda", second, name) == "cuda:1"  # asked for: an exported model refuses it
        assert device_of("cpu", second, name) == "cpu"
