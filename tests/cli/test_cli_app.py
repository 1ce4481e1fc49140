"""The table of verbs, and how the top command behaves."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner, Result

import glesam
from glesam import cli
from glesam.cli import VERBS, Verb, app, load_verb


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_overview_lists_every_verb_with_its_help() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for name, verb in VERBS.items():
        assert name in result.output
        assert verb.help[:30] in result.output


@pytest.mark.parametrize("name", VERBS)
def test_every_row_of_the_table_leads_to_a_verb(name: str) -> None:
    module, attribute = VERBS[name].target.split(":")
    assert hasattr(importlib.import_module(module), attribute)
    assert load_verb(name).name == name
    assert call(name, "--help").exit_code == 0


def test_help_imports_nothing_heavy() -> None:
    # Importing torch alone takes longer than the half second that help may take.
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "import glesam\n"
        "from glesam.cli import VERBS, app\n"
        "for arguments in (['--help'], ['--version'], *([name, '--help'] for name in VERBS)):\n"
        "    result = CliRunner().invoke(app, arguments)\n"
        "    assert result.exit_code == 0, result.output\n"
        "    heavy = {'torch', 'transformers', 'diffusers', 'numpy', 'cv2', 'PIL', 'scipy'} & set(sys.modules)\n"
        "    assert not heavy, (arguments, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout) == (0, f"glesam {glesam.__version__}\n")


def test_unknown_verb_suggests_the_nearest() -> None:
    result = call("segmnt")
    assert result.exit_code == 2
    assert result.stderr == "glesam: error: No such command 'segmnt'. Did you mean 'segment'?; see 'glesam --help'\n"


def test_no_verb_shows_the_overview() -> None:
    result = call()
    assert result.exit_code == 2
    assert "segment" in result.output


@pytest.mark.parametrize("group", ["data", "train"])
def test_group_without_sub_command_shows_its_help(group: str) -> None:
    result = call(group)
    assert result.exit_code == 2
    assert "Commands" in result.output
    assert "error" not in result.output


def test_python_dash_m_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "glesam", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"glesam {glesam.__version__}\n")


def test_a_verb_is_imported_only_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.VERBS, "broken", Verb("glesam.cli.no_such_module:verb", "Breaks."))
    fresh = typer.Typer(cls=cli.VerbGroup, pretty_exceptions_enable=False)
    fresh.callback()(lambda: None)
    assert CliRunner().invoke(fresh, ["--help"]).exit_code == 0
    # A table row that leads nowhere is a programming error: no message may hide it.
    assert isinstance(CliRunner().invoke(fresh, ["broken"]).exception, ModuleNotFoundError)
