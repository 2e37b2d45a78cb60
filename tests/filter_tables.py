"""Check anything that selects rows by a filter against the hand-made tables."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ragbridge import _filter_tree
from ragbridge.filters import Filter, matches
from ragbridge.testing import FILTER_TABLES, FilterTable

__all__ = ["decides_tree", "disagreements"]

Rows = Mapping[str, Mapping[str, Any]]


def disagreements(
    select: Callable[[Filter, Rows], Collection[str]],
    tables: Sequence[FilterTable] = FILTER_TABLES,
) -> Iterator[str]:
    """Where `select(filters, rows)`, which gives names of rows, differs from a table."""
    for table in tables:
        for filters, wanted in table.cases:
            selected = set(select(filters, table.rows))
            if selected != wanted:
                extra, lacking = sorted(selected - wanted), sorted(wanted - selected)
                yield f"{table.name}: {filters!r} selects {extra} too many, {lacking} too few"


def decides_tree(node: Any, metadata: Mapping[str, Any]) -> bool:
    """Whether `metadata` fulfils a normalised filter, read as the module `_filter_tree` says."""
    kind = type(node).__name__  # by name: a mutant of the module has classes of its own
    if kind == _filter_tree.Every.__name__:
        return all(decides_tree(child, metadata) for child in node.children)
    if kind == _filter_tree.Some.__name__:
        return any(decides_tree(child, metadata) for child in node.children)
    return matches(node.condition, metadata) is not node.negated
