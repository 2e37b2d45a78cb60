"""The README's tables for those who come from other packages, and how their rows are run."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from ragbridge.stores.base import VectorStore

__all__ = ["MigrationTable"]

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"\| `(.+?)`[^|]* \| `(.+?)`[^|]* \|\n")

Check = Callable[[Any, Mapping[str, Any]], bool]


class MigrationTable:
    """One of the tables.

    Args:
        package: Where its readers come from.
        store: The name of what an adapter's store calls the core's.

    Attributes:
        rows: What is written there, and what here.
    """

    def __init__(self, package: str, *, store: str) -> None:
        after = README.read_text().split(f"Those who come from {package} write:")[1]
        self._text = after.split("\n## ")[0]
        self._store = store
        self.rows: list[tuple[str, str]] = ROW.findall(self._text)

    def assert_read(self, checks: Iterable[str], at_least: int) -> None:
        """Every row is read, so many at the least, and has a check by what is written there."""
        assert len(self.rows) == self._text.count("\n| `") >= at_least
        assert set(checks) == {there for there, _ in self.rows}

    def assert_done(self, here: str, names: Mapping[str, Any], check: Check) -> None:
        """What is written here passes the check for it; a store that it makes is closed."""
        result = eval(here, dict(names))
        made = getattr(result, self._store, None)
        with closing(made) if isinstance(made, VectorStore) else nullcontext():
            assert check(result, names), result
