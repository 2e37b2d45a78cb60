"""Names of test cases that are the same in every process."""

import re

__all__ = ["shown"]


def shown(value: object) -> str:
    """What `repr` says of a value, without its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
