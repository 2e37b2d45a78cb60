"""A progress bar where a person watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ragbridge.errors import missing_dependency

_SHOWN_AFTER = 1.0  # seconds; what is done by then needs no bar


@contextmanager
def progress_bar(
    total: int, show: bool | None, *, unit: str, title: str
) -> Iterator[Callable[[int], object]]:
    """A bar on standard error, and what moves it on.

    Args:
        total: How many units there are.
        show: True for a bar in any case, False for none; None for one where standard error is a
            terminal and the work takes longer than a second.
        unit: What is counted.
        title: What is done.

    Raises:
        MissingDependencyError: `show` is true and tqdm is not installed.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        if show:
            raise missing_dependency("tqdm", "cli") from error
        yield lambda _: None
        return
    disable = None if show is None else not show  # None: where it is no terminal
    delay = 0.0 if show else _SHOWN_AFTER
    with tqdm(total=total, unit=unit, desc=title, disable=disable, delay=delay) as bar:
        yield bar.update
