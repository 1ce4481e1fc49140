from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from glesam.cli import app, models
from glesam.heads.files import ORIGINAL_FILES
from glesam.models.registry import ACCEPTS, model_info, presets
from glesam.weights.folders import user_folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLESAM_HOME", str(tmp_path))


def test_table_has_a_row_for_every_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(models, "console", Console(width=320))
    result = call()
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for preset in presets():
        assert preset.family in rows[preset.name]
        assert preset.licence in rows[preset.name]
        assert ACCEPTS[preset.family] in rows[preset.name]
        assert (preset.original_url + preset.original_file or "in the package") in rows[preset.name]
    assert "375 MB" in rows["sam-vit-b"]  # 375 042 383 bytes, as published


def test_files_with_a_head_are_listed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(models, "console", Console(width=240))
    (user_folder() / "sam_hq_vit_l.pth").write_bytes(b"x" * 1_600_000)
    rows = {line.split()[0]: line for line in call().stdout.splitlines() if line.strip()}
    assert "hq" in rows["sam_hq_vit_tiny.pth"]
    # 42.5 MB as published: MobileSAM's 40.7 and .45 million float32 of the head.
    assert all(word in rows["sam_hq_vit_tiny.pth"] for word in ("mobile-sam", "~43 MB", "no", "Apache-2.0"))
    assert "~379 MB" in rows["sam_hq_vit_b.pth"]
    assert all(word in rows["sam_hq_vit_l.pth"] for word in (" 2 MB", "yes"))
    assert (
        "https://huggingface.co/lkeab/hq-sam/resolve/main/sam2.1_hq_hiera_large.pt" in rows["sam2.1_hq_hiera_large.pt"]
    )
    assert "MIT" in rows["robustsam_checkpoint_h.pth"]


def test_addresses_are_whole_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(models, "console", Console(width=80))
    lines = call().stdout.splitlines()
    assert not any("…" in line for line in lines)
    for preset in presets():
        name, _, rest = next(line for line in lines if line.startswith(f" {preset.name}:")).strip().partition(": ")
        licence, _, address = rest.rpartition("; ")
        assert name == preset.name
        assert licence == preset.licence
        assert address == (preset.original_url + preset.original_file or "in the package")
    # A row of the table takes two lines at most.
    assert len(lines) < 4 * (len(presets()) + len(ORIGINAL_FILES))


def test_names_are_whole_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(models, "console", Console(width=60))
    words = call().stdout.split()
    assert {preset.name for preset in presets()} <= set(words)


def test_path_of_a_model_that_is_here() -> None:
    file = user_folder() / "sam_vit_b_01ec64.pth"
    file.write_bytes(b"x" * 2_600_000)
    result = call("path", "sam-vit-b")
    assert (result.exit_code, result.stdout) == (0, f"{file}\n")
    assert "3 MB" in models._size(model_info("sam-vit-b"))


def test_path_of_a_model_that_is_not_here_says_where_to_get_it() -> None:
    result = call("path", "sam-vit-h")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth" in result.stderr
    assert str(user_folder()) in result.stderr


def test_unknown_name_is_wrong_use() -> None:
    result = call("path", "sam-vit-bb")
    assert result.exit_code == 2
    assert "did you mean 'sam-vit-b" in result.stderr
