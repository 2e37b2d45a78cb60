"""How long a call may take, and when it is made again."""

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from ragbridge.errors import StoreTimeoutError, missing_dependency
from ragbridge.stores.milvus.errors import is_transient

_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 3.0
_SHORTEST: Final = 0.001


class Deadline:
    """The time that an operation has, from when this is made.

    Args:
        seconds: How many it has.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; never quite none, which pymilvus would take for no limit."""
        return max(_SHORTEST, self._end - monotonic())

    def passed(self, while_what: str) -> StoreTimeoutError:
        """The error for a deadline that passed."""
        return StoreTimeoutError(
            f"{self.seconds:g} s passed while {while_what}; see timeout in MilvusConfig"
        )


def repeating(
    deadline: Deadline, when: Callable[[BaseException], bool] = is_transient
) -> Callable[..., Any]:
    """What makes a call to the engine, again if need be: called with the function and its arguments.

    It waits between the tries for times that grow and differ, so that the clients of a server that comes
    back do not all call at once; as long as the next try would be in time.

    Args:
        deadline: The call's.
        when: Which errors it is tried again after.

    Raises:
        MissingDependencyError: tenacity is not installed.
    """

    # Annotations in here are evaluated with each call: a plain one, since each call counts.
    def call(function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:
            if not when(error):
                raise
            failed = [error]

        def again() -> Any:
            _raise_first(failed)
            return function(*args)

        return _tenacity().Retrying(**_policy(deadline, when))(again)

    return call


def arepeating(
    deadline: Deadline, when: Callable[[BaseException], bool] = is_transient
) -> Callable[..., Any]:
    """Async twin of `repeating`."""

    async def call(function: Any, *args: Any) -> Any:
        try:
            return await function(*args)
        except Exception as error:
            if not when(error):
                raise
            failed = [error]

        async def again() -> Any:
            _raise_first(failed)
            return await function(*args)

        return await _tenacity().AsyncRetrying(**_policy(deadline, when))(again)

    return call


def waits() -> Any:
    """How long to wait after each try, as tenacity has it."""
    return _tenacity().wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)


def _raise_first(failed: list[Exception]) -> None:
    """Raise what the first try failed with, once.

    That try is made without tenacity, which takes longer than a fast call does.
    """
    if failed:
        raise failed.pop()


def _policy(deadline: Deadline, when: Callable[[BaseException], bool]) -> dict[str, Any]:
    tenacity = _tenacity()
    return {
        "retry": tenacity.retry_if_exception(when),
        "wait": waits(),
        "stop": tenacity.stop_before_delay(deadline.left),
        "reraise": True,
    }


def _tenacity() -> Any:
    try:
        import tenacity
    except ImportError as error:
        raise missing_dependency("tenacity", "milvus") from error
    return tenacity
