"""What the engine's errors mean."""

from typing import Any, Final

from ragbridge.errors import (
    StoreConnectionError,
    StoreTimeoutError,
    VectorStoreError,
)

_CONNECTION_CODES: Final = frozenset({2})
_MISSING_CODES: Final = frozenset({4, 100})
_NOT_LOADED_CODES: Final = frozenset({101})
_LONGEST_MESSAGE = 500


class CollectionMissingError(VectorStoreError):
    """The collection is not there, or not any more."""


class CollectionNotLoadedError(VectorStoreError):
    """The collection must be loaded before it is read."""


class AnswerTooLargeError(VectorStoreError):
    """The request or its answer is larger than one message may be."""


_BY_STATUS: Final[dict[str, type[VectorStoreError]]] = {
    "UNAVAILABLE": StoreConnectionError,
    "DEADLINE_EXCEEDED": StoreTimeoutError,
    "RESOURCE_EXHAUSTED": AnswerTooLargeError,
}


def translate(error: Exception, *, method: str, place: str, secret: str) -> VectorStoreError:
    """The ragbridge error for what pymilvus or gRPC raised.

    Args:
        error: A MilvusException or a grpc.RpcError.
        method: The client's method that raised it.
        place: The engine's address.
        secret: What must not appear in the message.
    """
    message = _message(error)
    if secret:
        message = message.replace(secret, "…")
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return _kind(error)(f"{method} failed at {place}: {message}")


def _message(error: Any) -> str:
    if hasattr(error, "details"):  # gRPC's own, whose str() goes over many lines
        return f"{_status(error)}: {error.details()}"
    return str(getattr(error, "message", error))


def _kind(error: Any) -> type[VectorStoreError]:
    if kind := _BY_STATUS.get(_status(error)):
        return kind
    code = getattr(error, "code", None)
    if code in _CONNECTION_CODES:
        return StoreConnectionError
    if code in _MISSING_CODES:
        return CollectionMissingError
    if code in _NOT_LOADED_CODES:
        return CollectionNotLoadedError
    text = str(getattr(error, "message", "")).lower()
    return StoreTimeoutError if "timeout" in text else VectorStoreError


def _status(error: Any) -> str:
    """The gRPC status, which pymilvus also puts into its own exceptions as their code."""
    code = getattr(error, "code", None)
    if callable(code):
        code = code()
    return str(getattr(code, "name", ""))
