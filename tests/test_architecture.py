"""The house keeps its rules: who imports whom, what is public, and that it is documented."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import pytest

import ragbridge
from ragbridge import errors

ROOT = Path(__file__).parents[1]
SOURCE = Path(ragbridge.__file__).parent

OPTIONAL = (
    *("pymilvus", "milvus_lite", "langchain_core", "llama_index", "openai", "chromadb"),
    *("bm25s", "Stemmer", "semantic_text_splitter", "markdown_it", "bs4"),
    *("typer", "tqdm", "yaml", "pytest", "hypothesis"),
)
CORE = ("documents", "embeddings", "errors", "filters", "retrievers", "knowledge_base", "chat")


def module_names():
    """Every module of the package, by name."""
    found = pkgutil.walk_packages(ragbridge.__path__, "ragbridge.")
    return ["ragbridge", *sorted(each.name for each in found)]


def is_public(name):
    return not any(part.startswith("_") for part in name.split("."))


MODULES = [name for name in module_names() if is_public(name)]
LISTED = [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")]
FACES = [  # packages that only show what lies in their modules
    name
    for name in MODULES
    if hasattr(importlib.import_module(name), "__path__") and name != "ragbridge.stores"
]


def path_of(name):
    base = SOURCE.parent.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        "ragbridge",
        *(f"ragbridge.{each}" for each in CORE),
        "ragbridge.stores",
        "ragbridge.chunkers",
    ],
)
def test_the_core_imports_nothing_optional(name):
    result = run_python(f"import {name}, sys; print(*set({OPTIONAL}) & set(sys.modules))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_the_memory_store_imports_no_engine():
    result = run_python("import ragbridge.stores.memory, sys; print('pymilvus' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_the_suite_says_what_it_needs(missing):
    result = run_python(f"import sys; sys.modules[{missing!r}] = None; import ragbridge.testing")
    assert f"needs {missing}; run: pip install pytest hypothesis" in result.stderr


def test_import_contracts_hold():
    result = run_python(
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", LISTED)
def test_all_is_sorted_and_true(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=constants_classes_functions)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def constants_classes_functions(name):
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("name", FACES)
def test_all_of_a_face_is_all_that_it_shows(name):
    module = importlib.import_module(name)
    shown = {
        each
        for each, value in vars(module).items()
        if not each.startswith("_") and not inspect.ismodule(value)
    }
    assert set(getattr(module, "__all__", ())) == shown


@pytest.mark.parametrize("name", [each for each in LISTED if each not in FACES])
def test_a_name_without_underscore_is_public_or_shared(name):
    module = importlib.import_module(name)
    plain = {each for each in defined_names(name) if not each.startswith("_")}
    assert plain - set(module.__all__) <= shared_names(name)


def test_every_public_room_lists_its_names():
    inner = {  # parts of a store, reached through its package
        name for name in MODULES if re.match(r"ragbridge\.stores\.\w+\.\w+", name)
    }
    quiet = {"ragbridge.cli"}  # a command, not a library
    assert set(MODULES) - set(LISTED) - inner - quiet == set()


def defined_names(name):
    """What a module's own statements define at its top level; type variables aside."""
    names = set()
    for node in ast.parse(path_of(name).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    module = importlib.import_module(name)
    return {each for each in names if not isinstance(getattr(module, each), TypeVar)}


def shared_names(name):
    """What other modules of the package take from a module."""
    return {
        alias.name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == name
        for alias in node.names
    }


PUBLIC = {
    f"{name}.{each}": getattr(importlib.import_module(name), each)
    for name in LISTED
    for each in importlib.import_module(name).__all__
}
DOCUMENTED = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) or inspect.isroutine(value)
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_everything_public_is_documented(name):
    value = DOCUMENTED[name]
    assert value.__doc__, f"{name} has no docstring"
    for method_name, method in own_methods(value):
        assert inspect.getdoc(method), f"{name}.{method_name} has no docstring"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_everything_public_is_annotated(name):
    value = DOCUMENTED[name]
    routines = dict(own_methods(value)) if inspect.isclass(value) else {"": value}
    for method_name, routine in routines.items():
        lacking = list(missing_annotations(routine))
        assert not lacking, f"{name}.{method_name} lacks annotations for {lacking}"


def own_methods(value):
    """The public methods that a class of ours defines itself."""
    if not inspect.isclass(value) or value.__module__.startswith("ragbridge.testing"):
        return
    for name, each in vars(value).items():
        routine = each.fget if isinstance(each, property) else inspect.unwrap(plain(each))
        if not name.startswith("_") and inspect.isfunction(routine):
            # By name on the class: what is inherited includes docstrings.
            yield name, getattr(value, name) if not isinstance(each, property) else routine


def plain(method):
    return method.__func__ if isinstance(method, classmethod | staticmethod) else method


def missing_annotations(routine):
    signature = inspect.signature(routine)
    for parameter in signature.parameters.values():
        if parameter.name not in ("self", "cls") and parameter.annotation is parameter.empty:
            yield parameter.name
    if signature.return_annotation is signature.empty:
        yield "return"


def test_the_drawn_tree_of_errors_is_the_real_one():
    drawn = {}
    above = {}
    for line in (errors.__doc__ or "").split("```")[1].splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+)", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            drawn[match[2]] = above[depth - 1] if depth else "Exception"
    real = {
        name: getattr(errors, name).__bases__[0].__name__
        for name in errors.__all__
        if issubclass(getattr(errors, name), Exception)
    }
    assert drawn == real


def test_every_error_says_what_it_also_is():
    for line in (errors.__doc__ or "").splitlines():
        if match := re.search(r"(\w+Error)\b.*\(also an? (\w+)\)", line):
            assert issubclass(getattr(errors, match[1]), __builtins__[match[2]])


def test_every_module_says_what_it_is_for():
    for name in module_names():
        tree = ast.parse(path_of(name).read_text())
        assert ast.get_docstring(tree), f"{name} has no docstring"
