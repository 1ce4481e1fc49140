"""The house stands as docs/architecture.md says: no circle, nothing imported from above, nothing loose at the root."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from glesam import errors
from house import Import, floors, imports, modules, room_of

FLOORS = floors()
ROOMS = [room for floor in FLOORS for room in floor]
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
AT_THE_ROOT = {"errors", "__main__"}
"""Modules that lie in no room; `__init__` is the door of all."""
TEXTS_OF_OURS = {*dir(errors), "ImportError"}
"""Errors whose texts are for people as they are."""
MOST_LINES = 40
"""Of a function, signature and docstring counted."""


def circle(found: Iterable[Import]) -> list[str] | None:
    """A circle of modules, if there is one."""
    graph: dict[str, set[str]] = {}
    for importer, imported in found:
        graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def upward(found: Iterable[Import]) -> list[str]:
    """Imports of another room that is not on a lower floor."""
    wrong = []
    for importer, imported in sorted(found):
        upper, lower = room_of(importer, ROOMS), room_of(imported, ROOMS)
        if upper is not None and lower is not None and upper != lower and HEIGHT[upper] <= HEIGHT[lower]:
            wrong.append(f"{importer} ({upper}, floor {HEIGHT[upper] + 1}) imports {imported} ({HEIGHT[lower] + 1})")
    return wrong


def test_no_circle_even_by_imports_inside_functions() -> None:
    assert circle(imports()) is None


def test_nothing_is_imported_from_the_same_floor_or_above() -> None:
    assert upward(imports()) == []


def test_training_needs_no_evaluation() -> None:
    assert [
        each for each in imports() if each.importer.startswith("train") and each.imported.startswith("evaluate")
    ] == []


def test_every_module_has_its_room_and_every_room_a_module() -> None:
    used = {name: room_of(name, ROOMS) for name in modules()}
    assert [name for name, room in used.items() if room is None] == []
    assert len(set(ROOMS)) == len(ROOMS)
    assert set(ROOMS) - set(used.values()) == set()


def defined(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterable[tuple[str, ast.AST]]:
    """Every definition of a kind in the package, with the module's name before it."""
    for name, path in sorted(modules().items()):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, kind):
                yield f"{name}.{node.name}", node  # type: ignore[attr-defined]


def test_no_function_has_more_than_40_lines() -> None:
    lengths = {
        name: node.end_lineno - node.lineno + 1 for name, node in defined((ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def aliases() -> Iterable[str]:
    """Names of types and type variables that modules give to something else than a class."""
    for path in modules().values():
        for node in ast.parse(path.read_text("utf-8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and re.fullmatch("[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", target.id):
                yield target.id


def test_no_two_classes_or_aliases_share_a_name() -> None:
    names = [name.rsplit(".", 1)[1] for name, _ in defined(ast.ClassDef)] + list(aliases())
    assert {"Predictor", "Bool", "Colour"} <= set(names)
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_no_module_is_loose_at_the_root() -> None:
    assert {name for name, path in modules().items() if "." not in name and path.name != "__init__.py"} == AT_THE_ROOT


def test_what_breaks_the_rules_is_found(tmp_path: Path) -> None:
    """The checks themselves, on a small package that breaks each rule."""
    (tmp_path / "images").mkdir()
    (tmp_path / "predict").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "errors.py").write_text("")
    (tmp_path / "images" / "__init__.py").write_text("")
    (tmp_path / "images" / "a.py").write_text("def f():\n    from glesam.predict import b\n")
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import glesam.errors\nimport glesam.images.a\n"
    (tmp_path / "predict" / "b.py").write_text(text)
    found = imports(tmp_path)
    assert found == {Import("images.a", "predict.b"), Import("predict.b", "images.a")}
    assert set(circle(found) or []) == {"images.a", "predict.b"}
    assert len(upward(found)) == 1
    assert "images.a" in upward(found)[0]


@pytest.mark.parametrize(("module", "room"), [("models.base", "models.base"), ("models.sam.sam2", "models.sam")])
def test_the_longest_name_is_the_room(module: str, room: str) -> None:
    assert room_of(module, ["models", "models.base", "models.sam"]) == room
    assert room_of("modelling", ["models"]) is None


def raw_texts(tree: ast.AST) -> Iterable[str]:
    """Messages of errors that hold the text of a caught foreign error as it is."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None or handler.type is None:
            continue
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if all(ast.unparse(kind) in TEXTS_OF_OURS for kind in caught):
            continue
        raised = [node for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc is not None]
        for part in (part for node in raised for part in ast.walk(node.exc) if isinstance(part, ast.FormattedValue)):
            if isinstance(part.value, ast.Name) and part.value.id == handler.name:
                yield ast.unparse(part)


def test_messages_put_errors_of_others_into_words() -> None:
    """By `one_line` or `brief`; a bare key or `'NoneType' object has ...` says nothing of a file."""
    found = {name: list(raw_texts(ast.parse(path.read_text("utf-8")))) for name, path in modules().items()}
    assert {name: texts for name, texts in found.items() if texts} == {}
    bad = "try:\n    f()\nexcept (OSError, KeyError) as e:\n    raise DataError(f'got {e}') from e\n"
    assert list(raw_texts(ast.parse(bad))) == ["{e}"]
    assert list(raw_texts(ast.parse(bad.replace("{e}", "{one_line(e)}")))) == []


def test_json_of_others_has_one_decoder() -> None:
    """What a module decodes by itself it has encoded itself; files and requests go through `common.documents`."""
    own = re.compile(r"json\.loads?\((?!json\.dumps\(|self\.unet\.to_json_string\()")
    found = [name for name, path in modules().items() if own.search(path.read_text("utf-8"))]
    assert sorted(found) == ["common.documents", "common.jsonl", "common.locks"]
