"""Modules with one deliberate mistake, to show that the tests would notice it."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["installed", "mutated"]


def mutated(name: str, old: str, new: str) -> ModuleType:
    """The module `name` with `old`, which must stand in its source exactly once, replaced."""
    path = Path(importlib.import_module(name).__file__ or "")
    source = path.read_text()
    assert source.count(old) == 1, f"{path.name} has {source.count(old)} times {old!r}, not once"
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(source.replace(old, new), str(path), "exec"), module.__dict__)
    return module


@contextmanager
def installed(mutant: ModuleType) -> Iterator[None]:
    """Within the block, ragbridge uses the mutant's functions and classes for the original's."""
    original = importlib.import_module(mutant.__name__)
    swaps = {
        id(value): getattr(mutant, name)
        for name, value in vars(original).items()
        if getattr(value, "__module__", None) == mutant.__name__
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] == "ragbridge" and not name.startswith("ragbridge.testing"):
                _swap(module, swaps, patch)
        yield


def _swap(module: ModuleType, swaps: dict[int, object], patch: pytest.MonkeyPatch) -> None:
    for name, value in list(vars(module).items()):
        if id(value) in swaps:
            patch.setattr(module, name, swaps[id(value)])
