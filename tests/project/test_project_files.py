"""The files around the code say what is so: citation, container, contents and licences of the wheel."""

from __future__ import annotations

import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import glesam

tomllib = pytest.importorskip("tomllib", reason="in Python from 3.11 on")
ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in text.splitlines() if line.strip()]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == glesam.__version__ == PROJECT["version"]
    assert "2503.12507" in str(citation["references"])


def test_links_of_the_project_pages_lead_somewhere() -> None:
    for name in ("CONTRIBUTING.md", "SECURITY.md", "LICENSE-WEIGHTS.md"):
        text = (ROOT / name).read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{name}: {target}"
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert set(re.findall(r"^make ([a-z-]+)", contributing, re.M)) <= set(targets)


def test_the_container_runs_as_nobody_special_and_can_be_asked_for_its_health() -> None:
    found = instructions()
    final = found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]
    words = dict(final)
    user = words["USER"]
    assert user not in ("root", "0")
    assert any(word == "RUN" and "useradd" in text and user in shlex.split(text) for word, text in final)
    assert "http://127.0.0.1:8000/healthz" in words["HEALTHCHECK"]
    assert words["EXPOSE"] == "8000"


def test_the_container_starts_the_server_with_words_that_the_command_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    import ast

    from typer.testing import CliRunner

    from glesam.cli import app
    from glesam.serve import run

    words = dict(instructions())
    assert ast.literal_eval(words["ENTRYPOINT"]) == ["glesam"]
    started = []
    monkeypatch.setattr(run, "serve", lambda settings, ready: started.append(settings))
    command = ast.literal_eval(words["CMD"])
    refused = CliRunner().invoke(app, command, env={"GLESAM_TOKEN": ""})
    assert refused.exit_code == 2
    assert "GLESAM_TOKEN" in refused.output
    result = CliRunner().invoke(app, command, env={"GLESAM_TOKEN": "secret"})
    assert result.exit_code == 0, result.output
    assert (started[0].host, started[0].port) == ("0.0.0.0", 8000)


def test_all_that_the_container_copies_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {p for w, text in instructions() if w == "COPY" and "--from" not in text for p in text.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)
    extras = re.search(r"\.\[([a-z,]+)\]", (ROOT / "Dockerfile").read_text("utf-8"))
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what is packed; weights are stood for by their names."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-WEIGHTS.md"):
        shutil.copy(ROOT / name, folder)
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.safetensors")
    shutil.copytree(ROOT / "src", folder / "src", ignore=skip)
    for path in (ROOT / "src").rglob("*.safetensors"):
        (folder / path.relative_to(ROOT)).write_bytes(b"weights")
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    result = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return zipfile.ZipFile(folder / result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the source distribution, built from a copy of the project; weights are stood for by their names."""
    folder = tmp_path_factory.mktemp("sdist") / "project"
    skip = shutil.ignore_patterns(
        "__pycache__", "*.egg-info", "*.safetensors", ".*", "out", "site", "runs", "build", "dist", "data"
    )
    shutil.copytree(ROOT, folder, ignore=skip, symlinks=True)
    shutil.copytree(ROOT / "src" / "glesam" / "data", folder / "src" / "glesam" / "data", ignore=skip)
    build = "from setuptools import build_meta; print(build_meta.build_sdist('.'))"
    result = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    with tarfile.open(folder / result.stdout.splitlines()[-1]) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}


def test_the_source_distribution_holds_docs_configurations_and_examples(source_archive: set[str]) -> None:
    assert {
        "docs/segment.md",
        "docs/images/demo.jpg",
        "configs/compact-base.json",
        "configs/kept-aside.txt",
    } <= source_archive
    assert {"examples/notebook.ipynb", "Makefile", "CHANGELOG.md", "LICENSE-WEIGHTS.md"} <= source_archive
    assert "src/glesam/data/readers/folder.py" in source_archive
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in source_archive)


def test_the_wheel_holds_the_package_with_all_its_files_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    source = ROOT / "src"
    skipped = ("__pycache__", "egg-info")
    files = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()}
    expected = {name for name in files if not any(part in name for part in skipped)}
    assert packed == expected
    assert {
        "glesam/py.typed",
        "glesam/models/weights/compact/model.safetensors",
        "glesam/serve/page/index.html",
    } <= packed


def test_the_wheel_names_extras_command_and_both_licences(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "glesam"
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert metadata["License-Expression"] == "Apache-2.0 AND LicenseRef-glesam-weights"
    assert set(metadata.get_all("License-File", [])) == {"LICENSE", "LICENSE-WEIGHTS.md"}
    assert "for research use" in wheel.read(f"{info}/licenses/LICENSE-WEIGHTS.md").decode()
    assert "glesam = glesam.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split(r"[<>=\[]", line)[0] for line in needed) == sorted(
        re.split(r"[<>=\[]", line)[0] for line in PROJECT["dependencies"]
    )


def test_every_page_of_the_docs_has_its_place_in_the_site() -> None:
    parts = re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert sorted(parts) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_names_of_the_api_page_are_there() -> None:
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.M)
    assert len(names) > 5
    for name in names:
        assert callable(pkgutil.resolve_name(name)) or name == "glesam.errors"
