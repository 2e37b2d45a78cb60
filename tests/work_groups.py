"""Which tests one worker runs, where several share them out (`pytest -n`), and in what order.

What a test finds made for it, such as a loaded collection or a server, is made once for each worker
that needs it, so tests that share much go together. Those of a server wait more than they work, so
groups of both kinds take turns. Workers write down which tests go together, and their controller,
which collects none itself, reads it.
"""

import json
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["GroupScheduling", "in_turns", "write_groups"]

_FRAGILE = "fragile server"
_FILE = "groups.json"

StoreOf = Callable[[pytest.Item], str | None]


def in_turns(items: Iterable[pytest.Item], store_of: StoreOf) -> list[pytest.Item]:
    """The tests in the order in which workers take them: the longest way, by itself, first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item, store_of), []).append(item)
    fragile = groups.pop(_FRAGILE, [])
    by_size = sorted(groups, key=lambda group: -len(groups[group]))
    waiting = [group for group in by_size if group.endswith(" milvus")]
    working = [group for group in by_size if not group.endswith(" milvus")]
    turns = {
        group: place / len(kind) for kind in (waiting, working) for place, group in enumerate(kind)
    }
    return [*fragile, *(item for group in sorted(turns, key=turns.get) for item in groups[group])]


def write_groups(items: Iterable[pytest.Item], store_of: StoreOf, folder: Path) -> None:
    """Tell the controller which tests go together."""
    draft = folder / f"groups of {os.getpid()}"
    draft.write_text(json.dumps({item.nodeid: _group_of(item, store_of) for item in items}))
    draft.replace(folder / _FILE)


class GroupScheduling(LoadScopeScheduling):
    """Gives each worker one group of tests after the other.

    Args:
        config: The controller's.
        log: Where xdist logs.
        folder: Where workers wrote which tests go together.
    """

    def __init__(self, config: pytest.Config, log: Any, folder: Path) -> None:
        super().__init__(config, log)
        self._folder = folder

    @cached_property
    def _groups(self) -> dict[str, str]:
        return json.loads((self._folder / _FILE).read_text())

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]


def _group_of(item: pytest.Item, store_of: StoreOf) -> str:
    """Those of one module over one store go together, and those of the server that is killed."""
    fragile = "fragile_server" in item.fixturenames
    return _FRAGILE if fragile else f"{item.path.parent.name} {item.path.stem} {store_of(item)}"
