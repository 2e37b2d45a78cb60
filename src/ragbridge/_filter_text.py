"""Filters as text: what `str(filters)` shows."""

from ragbridge.filters import Filter


def render(filters: Filter) -> str:
    """Placeholder until written."""
    return repr(filters)
