"""What engines take for a name of a collection, a partition or a database."""

import re
from typing import Final

from ragbridge.errors import InvalidConfigError, shorten

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def check_name(name: object, argument: str) -> str:
    """`name` as a name that every engine takes.

    Raises:
        InvalidConfigError: it breaks the rule, which the message says.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidConfigError(
        f"{argument} must be 1 to 255 letters (A-Z, a-z), digits and underscores, the first no digit, "
        f"not {shorten(name)}"
    )
