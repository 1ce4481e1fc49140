"""The page's server and browser, the page opened in it, and its modules run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_driver import ROOT, Person, running_server

PAGE = ROOT / "src" / "glesam" / "serve" / "page"

BROWSER = """
globalThis.navigator = {};
globalThis.addEventListener = () => {};
globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
globalThis.requestAnimationFrame = (done) => setTimeout(done, 0);
"""
"""What modules ask of a browser when they are loaded."""


def run(code: str, given: Any = None) -> Any:
    """What a script gives as JSON; `given` is what it is given."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node in PATH to run the page's modules with")
    script = f"const given = {json.dumps(given)};\n{code}"
    done = subprocess.run(
        [node, "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        cwd=PAGE,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def module(name: str) -> str:
    return (PAGE / name).as_uri()


def chromium() -> str:
    """Where the browser is; skips the test where none is."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium in PATH to drive the page with")
    return found


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    """One server for all modules that drive the page."""
    chromium()
    with running_server() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Ends with its module: while it runs, its event loop keeps other tests from running theirs."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Person]]:
    """Open the page; at the end there was no error in the console, and no request went anywhere else."""
    contexts, faults, requests = [], [], []

    def make(prepare: Callable[[Any], None] | None = None, refused: bool = False, **options: Any) -> Person:
        options = {"viewport": {"width": 1280, "height": 820}, "reduced_motion": "reduce"} | options
        contexts.append(browser.new_context(**options))
        # Previews ask whenever the pointer moves: tests that are about them switch them on.
        contexts[-1].add_init_script("localStorage['glesam-preview'] ??= 'off'")
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") and not refused else None)
        page.on("request", lambda request: requests.append(request.url))
        if prepare:
            prepare(page)
        page.goto(address)
        person = Person(page)
        if not refused:
            person.until("Boolean(globalThis.glesam?.state.server)")
        return person

    yield make
    # Judged before the page is taken down: requests that lose their stand-in on the way meet the real server.
    seen, asked = list(faults), list(requests)
    for context in contexts:
        context.unroute_all(behavior="ignoreErrors")
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # answers that nobody waits for any more
        context.close()
    assert not seen, seen
    assert {url for url in asked if not url.startswith((address + "/", "blob:"))} == set()


@pytest.fixture
def person(visit: Callable[..., Person]) -> Person:
    """Has the example photo open."""
    made = visit()
    made.open_example()
    if made.page.evaluate("glesam.state.server.enhancer"):
        made.view("off")
    return made
