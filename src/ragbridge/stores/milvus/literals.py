"""Values as Milvus's language writes them."""

from typing import Final

from ragbridge.filters import Scalar

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def literal(value: Scalar) -> str:
    """A value as both Milvus Lite and servers read it."""
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
