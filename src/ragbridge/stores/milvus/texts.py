r"""Texts in fields that have an index.

The indexes of servers end a text at its first NUL: server 2.3.5 takes `"a\0b"` for `"a"`. So NULs are
kept as two other characters. Which texts are equal and which come first stays as it is.
"""

from typing import Final

_KEPT: Final = str.maketrans({"\x00": "\x01\x01", "\x01": "\x01\x02"})
_MARK: Final = "\x01"


def without_nul(text: str) -> str:
    """The text as it is kept."""
    return text.translate(_KEPT) if "\x00" in text or _MARK in text else text


def with_nul(kept: str) -> str:
    """The text that is kept so."""
    if _MARK not in kept:
        return kept
    parts = kept.split(_MARK + "\x01")
    return "\x00".join(part.replace(_MARK + "\x02", _MARK) for part in parts)


def may_look_like_others(text: str) -> bool:
    """Whether the text as it is kept may be found where it is not."""
    return any(mark in text for mark in "\x00\x01\x02")
