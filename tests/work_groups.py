"""Which tests one worker runs, where several share them out (`pytest -n`), and in what order.

What a test finds made for it, such as a loaded collection or a server, is made once for each worker
that needs it, so tests that share much go together. Those of a server wait more than they work, so
groups of both kinds take turns.
"""

from collections.abc import Callable, Iterable

import pytest

__all__ = ["in_turns", "share_out"]

_FRAGILE = "fragile server"


def share_out(items: Iterable[pytest.Item], store_of: Callable[[pytest.Item], str | None]) -> None:
    """Mark which tests go together: those of one module over one store, or of one server."""
    for item in items:
        fragile = "fragile_server" in item.fixturenames
        group = _FRAGILE if fragile else f"{item.path.stem} {store_of(item) or ''}"
        item.add_marker(pytest.mark.xdist_group(group))


def in_turns(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests in the order in which workers take them: the longest way, by itself, first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item), []).append(item)
    fragile = groups.pop(_FRAGILE, [])
    by_size = sorted(groups, key=lambda group: -len(groups[group]))
    waiting = [group for group in by_size if group.endswith(" milvus")]
    working = [group for group in by_size if not group.endswith(" milvus")]
    turns = {
        group: place / len(kind) for kind in (waiting, working) for place, group in enumerate(kind)
    }
    return [
        *fragile,
        *(item for group in sorted(turns, key=turns.__getitem__) for item in groups[group]),
    ]


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return marker.args[0]
