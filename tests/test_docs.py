"""Every Python and `glesam` snippet of README.md and docs/*.md runs, page by page, in a folder with example files.

What a page may count on: `photo.jpg`, `photos/` (two photos), `prompts.json` for them, `clip.mp4` (seven frames), the
data sets `my_set/` and `my_val/` (plain layout), `examples/`; in Python `image` (an array) and `prompts`. Snippets of
one page follow each other in one folder and one namespace. `glesam serve` runs beside what follows, to the page's end.

Snippets that take long or need what is not here say so where the reader sees it: a line ends in a comment with the
words "not tested", or a whole block has `<!-- not tested: reason -->` before it. Of shell blocks the lines that call
glesam are run.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tables import copy_tables
from typer.testing import CliRunner

if TYPE_CHECKING:
    from glesam.serve.settings import ServerSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^(<!-- not tested: (?P<why>[^>]+) -->\n+)?```(?P<kind>python|shell|bash|sh)\n(?P<code>.*?)^```", re.M | re.S
)
NOT_TESTED = "not tested"
ADDRESS = "127.0.0.1:8000"
"""Where pages say that the server is; tests take a free port instead."""
NEEDS = {
    "export.md": ("onnx", "onnxruntime", "openvino"),
    "serve.md": ("fastapi", "uvicorn", "httpx"),
    "page.md": ("fastapi", "uvicorn"),
}
"""Optional packages by page."""


@dataclass(frozen=True)
class Snippet:
    """A block of code of a page, and the line where it starts."""

    kind: str
    code: str
    line: int


def snippets(text: str) -> Iterator[Snippet]:
    """The blocks of a page that are to be run."""
    for match in FENCE.finditer(text):
        if match["why"] is None:
            kind = "python" if match["kind"] == "python" else "shell"
            yield Snippet(kind, match["code"], text.count("\n", 0, match.start("code")) + 1)


def commands(code: str) -> list[str]:
    """The glesam calls of a shell block, continued lines joined, without those marked as not tested."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line for line in lines if re.search(r"(^|\| *)glesam ", line) and NOT_TESTED not in line]


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Calls that ask for the bundled model as it ships get the same one: a hundred commands need not load it each."""
    from glesam.predict import load, predictor

    kept: list[load.PredictorParts] = []

    def load_parts(name: Any, device: str = "cpu", dtype: str = "float32", *others: Any) -> load.PredictorParts:
        if name != "compact" or dtype != "float32" or any(other is not None for other in others):
            return load.load_parts(name, device, dtype, *others)
        if not kept:
            kept.append(load.load_parts(name, device, dtype))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "load_parts", load_parts)
        patch.setattr("glesam.draw.figures.DPI", 30)  # few pixels: drawing is what takes time in reports
        yield


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what pages count on; the test runs in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    photos = {name: ROOT / "examples" / "photos" / f"{name}.jpg" for name in ("coffee", "chelsea")}
    shutil.copy(photos["coffee"], tmp_path / "photo.jpg")
    for name, target in (("coffee", "coffee.jpg"), ("chelsea", "cat.jpg")):
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(photos[name], tmp_path / "photos" / target)
    objects = {"cat.jpg": [{"points": [[240, 120]]}], "coffee.jpg": [{"box": [75, 15, 470, 385]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(objects))
    _write_clip(tmp_path / "clip.mp4")
    for folder, side in (("my_set", 128), ("my_val", 96)):
        for name, path in photos.items():
            _add_sample(tmp_path / folder, name, path, side)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _add_sample(folder: Path, name: str, photo: Path, side: int) -> None:
    """A small photo with a disc as its mask: layout and formats matter here, not quality."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.open(photo).resize((side, side)).save(folder / "images" / f"{name}.jpg")
    ys, xs = np.mgrid[:side, :side] / side - 0.5
    Image.fromarray(np.uint8(xs**2 + ys**2 < 0.1)).save(folder / "masks" / f"{name}.png")


def _write_clip(path: Path) -> None:
    """Seven frames of a photo that moves."""
    import cv2

    photo = cv2.resize(cv2.imread(str(ROOT / "examples" / "photos" / "coffee.jpg")), (400, 268))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (400, 268))
    for shift in range(7):
        writer.write(np.ascontiguousarray(np.roll(photo, 2 * shift, axis=1)))
    writer.release()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Run `glesam serve` lines until the test ends, in threads of this process; gives the address of the last one."""
    with ExitStack() as running:

        def start(line: str) -> str:
            from page_driver import served

            from glesam.cli import app
            from glesam.serve.app import create_app

            asked: list[ServerSettings] = []
            monkeypatch.setattr("glesam.serve.run.serve", lambda settings, ready: asked.append(settings))
            result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            return str(running.enter_context(served(create_app(asked[0]), port))).removeprefix("http://")

        yield start


def _run_command(line: str) -> None:
    """Run one shell line in this process: `glesam ...`, `cat FILE | glesam ...`, either with `> FILE` at its end."""
    from glesam.cli import app

    words = shlex.split(line, comments=True)
    feed, into = None, None
    if words[0] == "cat":
        assert words[2] == "|", f"{line}: mark what the test cannot read as not tested"
        assert Path(words[1]).is_file(), line
        feed, words = Path(words[1]).read_bytes(), words[3:]
    if ">" in words:
        into, words = words[-1], words[: words.index(">")]
    assert not set(words) & {"|", "<", "&&", "&"}, f"{line}: mark what the test cannot read as not tested"
    result = CliRunner().invoke(app, words[1:], input=feed)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    if into is not None:
        Path(into).write_bytes(result.stdout_bytes)
        assert result.stdout_bytes, line


def _run_python(snippet: Snippet, page: Path, namespace: dict[str, Any]) -> None:
    """Run a block; a traceback names the page and its line."""
    code = "\n" * (snippet.line - 1) + snippet.code
    exec(compile(code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_snippets_run(page: Path, workshop: Path, serve: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    copy_tables(monkeypatch)
    for package in NEEDS.get(page.name, ()):
        pytest.importorskip(package)
    address = ADDRESS
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found = list(snippets(page.read_text("utf-8")))
    if any(snippet.kind == "python" for snippet in found):
        from glesam import Prompts
        from glesam.images.reading import read

        namespace |= {"image": read("photo.jpg"), "prompts": Prompts(points=[[320, 240]])}
    for snippet in found:
        if snippet.kind == "python":
            here = Snippet("python", snippet.code.replace(ADDRESS, address), snippet.line)
            _run_python(here, page, namespace)
        for line in commands(snippet.code) if snippet.kind == "shell" else ():
            if line.startswith("glesam serve"):
                address = serve(line)
            else:
                _run_command(line)


def test_the_harness_finds_blocks_and_honours_the_marks() -> None:
    page = (
        "```python\na = 1\n```\n<!-- not tested: needs a GPU -->\n```python\nb = 1\n```\n"
        "```shell\nglesam x \\\n    --y  # why\nglesam z  # hours; not tested\ncat a | glesam - > b\nmake demo\n```\n"
        "```json\n{}\n```\n"
    )
    first, second = snippets(page)
    assert (first.code, first.line) == ("a = 1\n", 2)
    assert [line.split() for line in commands(second.code)] == [
        ["glesam", "x", "--y", "#", "why"],
        ["cat", "a", "|", "glesam", "-", ">", "b"],
    ]


def test_a_failing_snippet_fails_the_page(workshop: Path) -> None:
    with pytest.raises(AssertionError, match=r"no_such\.jpg"):
        _run_command("glesam segment no_such.jpg --point 1,2")
    with pytest.raises(AssertionError, match=r"no_such\.jpg"):
        _run_command("cat no_such.jpg | glesam segment - --point 1,2 > mask.png")
    with pytest.raises(AssertionError, match="not tested"):
        _run_command("glesam segment photo.jpg --point 1,2 && ls")
    with pytest.raises(ZeroDivisionError):
        _run_python(Snippet("python", "1 / 0", 3), ROOT / "README.md", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
