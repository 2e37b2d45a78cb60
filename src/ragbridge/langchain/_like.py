r"""LIKE patterns that find a substring: `%text%`, where `\%`, `\_` and `\\` are plain characters."""

import re
from typing import Final

from ragbridge.errors import InvalidFilterError, UnsupportedFilterError, shorten

_SUBSTRING: Final = re.compile(r"%((?:[^%_\\]|\\[%_\\])*)%", re.DOTALL)


def text_of_pattern(pattern: object) -> str:
    """The text that `pattern` finds.

    Raises:
        InvalidFilterError: no string.
        UnsupportedFilterError: a pattern that finds anything but a substring.
    """
    if not isinstance(pattern, str):
        raise InvalidFilterError(f"a LIKE pattern must be a string, not {shorten(pattern)}")
    found = _SUBSTRING.fullmatch(pattern)
    if found is None:
        raise UnsupportedFilterError(
            f"of LIKE patterns only %text% can be said, not {shorten(pattern)}; put a backslash "
            "before %, _ and \\ where they stand for themselves, and use $eq for a whole value"
        )
    return re.sub(r"\\(.)", r"\1", found[1])


def pattern_of_text(text: str) -> str:
    """The pattern that finds `text`."""
    escaped = re.sub(r"([%_\\])", r"\\\1", text)
    return f"%{escaped}%"
