"""Which tests one worker runs, where several share them out (`pytest -n`).

What a test finds made for it, such as a loaded collection or a server, is made once for each worker
that needs it, so tests that share much go together.
"""

from collections.abc import Callable, Iterable

import pytest

__all__ = ["share_out"]


def share_out(items: Iterable[pytest.Item], store_of: Callable[[pytest.Item], str | None]) -> None:
    """Mark which tests go together: those of one module over one store, or of one server."""
    for item in items:
        if "fragile_server" in item.fixturenames:
            group = "fragile server"
        else:
            group = f"{item.path.stem} {store_of(item) or ''}"
        item.add_marker(pytest.mark.xdist_group(group))
