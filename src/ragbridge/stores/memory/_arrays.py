"""Arrays that grow at their end while others read what was there before."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Slots: TypeAlias = NDArray[np.intp]
"""Numbers of rows in a table."""
Mask: TypeAlias = NDArray[np.bool_]
"""One truth value for each row of a table."""


def put_at_end(array: NDArray[Any], size: int, values: Any) -> NDArray[Any]:
    """`array` with `values` from row `size` on: the same array where they fit, else a larger copy.

    Rows before `size` are never touched, so readers of those need no lock.
    """
    end = size + len(values)
    if end > len(array):
        larger = np.empty((end + end // 8 + 16, *array.shape[1:]), array.dtype)
        larger[:size] = array[:size]
        array = larger
    array[size:end] = values
    return array
