from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from glesam.errors import ConfigError
from glesam.evaluate.measure.model_specs import ModelSpec, fingerprint, parse_model, parse_models


def test_the_setting_of_the_run_holds_where_a_model_says_nothing() -> None:
    assert parse_model("compact", "off") == ModelSpec("compact", "off", "compact")
    assert parse_model("compact@enhance=on", "off") == ModelSpec("compact", "on", "compact@enhance=on")
    assert parse_model("runs/base@enhance=auto").name == "runs/base"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a model NAME"),
        ("@enhance=on", "expected a model NAME"),
        ("compact@", "expected a model NAME"),
        ("compact@enhnce=on", "expected a model NAME"),
        ("compact@enhance=of", "did you mean 'off"),
        ("compact@enhance", "expected enhance on, off or auto"),
        ("compact@head=", "expected a head"),
    ],
)
def test_malformed_models_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("compact@restore=unet:runs/a@b", ModelSpec("compact", "auto", "", None, "unet:runs/a@b")),
        ("compact+runs/x@enhance=off@restore=median:5", ModelSpec("compact", "off", "", "runs/x", "median:5")),
        ("compact@restore=nlm@enhance=on", ModelSpec("compact", "on", "", None, "nlm")),
    ],
)
def test_restorers_stand_beside_the_mode(text: str, expected: ModelSpec) -> None:
    assert parse_model(text) == dataclasses.replace(expected, label=text)


@pytest.mark.parametrize("text", ["compact@restore=medain", "compact@restore=unet", "compact@restore=nlm@restore=nlm"])
def test_unknown_restorers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_model(text)


def test_fingerprint_follows_the_restorer(tmp_path: Path) -> None:
    texts = ("someone/model", "someone/model@restore=median", "someone/model@restore=median:5")
    assert len({fingerprint(parse_model(text, "off")) for text in texts}) == 3


def test_lists() -> None:
    specs = parse_models(["compact@enhance=off,compact@enhance=on", "sam-vit-b"], "auto")
    assert [str(spec) for spec in specs] == ["compact@enhance=off", "compact@enhance=on", "sam-vit-b"]
    with pytest.raises(ConfigError, match="different models"):
        parse_models(["compact,compact@enhance=auto"], "auto")
    with pytest.raises(ConfigError, match="at least one model"):
        parse_models([","])
    with pytest.raises(ConfigError, match="did you mean 'auto"):
        parse_models(["compact"], "autoo")


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    (tmp_path / "README.md").write_text("card")
    spec = parse_model(str(tmp_path))
    first = fingerprint(spec)
    (tmp_path / "README.md").write_text("other card")
    assert fingerprint(spec) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert fingerprint(spec) != first
    assert fingerprint(parse_model("someone/model")).startswith("someone/model, glesam")


def test_no_restorer_in_words_is_no_restorer() -> None:
    text = "compact@restore=none@enhance=off"
    assert parse_model(text) == ModelSpec("compact", "off", text)
    with pytest.raises(ConfigError, match="twice in other words"):
        parse_models(["compact,compact@restore=none"])


def test_a_folder_that_bears_a_presets_name_is_not_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = fingerprint(parse_model("compact", "off"))
    for part in ("model.safetensors", "config.json"):
        (tmp_path / "compact").mkdir(exist_ok=True)
        (tmp_path / "compact" / part).write_text("another model")
    monkeypatch.chdir(tmp_path)
    assert fingerprint(parse_model("compact", "off")) == here  # what `load_model` loads
    assert fingerprint(parse_model("./compact", "off")) != here
    (tmp_path / "hq").mkdir()
    (tmp_path / "hq" / "model.safetensors").write_text("a head")
    first = fingerprint(parse_model("compact@head=hq", "off"))
    (tmp_path / "hq" / "model.safetensors").write_text("another head")
    assert fingerprint(parse_model("compact@head=hq", "off")) != first


def test_the_key_of_a_preset_is_the_same_before_and_after_its_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fetched its model is taken up again: the stamps hold what they will be held against."""
    hub = tmp_path / "hub"

    def download(source: str, **options: object) -> str:
        hub.mkdir()
        (hub / "model.safetensors").write_bytes(b"weights")
        (hub / "config.json").write_text("{}")
        return str(hub)

    def cached(source: str, file: str) -> str | None:
        return str(hub / file) if (hub / file).is_file() else None

    monkeypatch.setenv("GLESAM_HOME", str(tmp_path / "user"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    before = fingerprint(parse_model("sam-vit-b", "off"))
    assert before == fingerprint(parse_model("sam-vit-b", "off")) == fingerprint(parse_model(str(hub), "off"))


def test_a_hub_out_of_reach_is_left_to_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: str, **options: object) -> str:
        raise OSError("no network")

    monkeypatch.setenv("GLESAM_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda source, file: None)
    assert fingerprint(parse_model("sam-vit-b", "off")).startswith("sam-vit-b, glesam")


def test_a_head_in_the_own_file_of_a_model_needs_no_other(tmp_path: Path) -> None:
    file = tmp_path / "sam_hq_vit_l.pth"
    file.write_bytes(b"a model with its head")
    first = fingerprint(parse_model(f"{file}@head=hq", "off"))
    assert first != fingerprint(parse_model(f"{file}", "off"))
    file.write_bytes(b"another")
    assert fingerprint(parse_model(f"{file}@head=hq", "off")) != first
