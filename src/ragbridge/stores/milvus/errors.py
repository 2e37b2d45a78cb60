"""What the engine's errors mean, and which of them pass by themselves.

pymilvus raises exceptions of its own with the code that the engine gave, or hands on those of gRPC. The
class decides where it says anything, then the code, then the status of gRPC.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ragbridge.errors import (
    InvalidConfigError,
    RagbridgeError,
    StoreAccessError,
    StoreConnectionError,
    StoreTimeoutError,
    VectorStoreError,
)

_LONGEST_MESSAGE: Final = 500


class CollectionMissingError(VectorStoreError):
    """The collection is not there, or not any more."""


class CollectionNotLoadedError(VectorStoreError):
    """The collection must be loaded before it is read."""


class AnswerTooLargeError(VectorStoreError):
    """The request or its answer is larger than one message may be."""


class RequestRefusedError(VectorStoreError):
    """The engine, or pymilvus, takes the request for wrong."""


class StoreBusyError(VectorStoreError):
    """The engine takes no more for the moment."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[RagbridgeError]
    passes: bool = False  # the same call may well succeed a moment later


_UNKNOWN: Final = _Meaning(VectorStoreError)
_REFUSED: Final = _Meaning(RequestRefusedError)
_NO_ACCESS: Final = _Meaning(StoreAccessError)
_MISSING: Final = _Meaning(CollectionMissingError)
_NOT_LOADED: Final = _Meaning(CollectionNotLoadedError)
_LOADING: Final = _Meaning(CollectionNotLoadedError, passes=True)
_TOO_LARGE: Final = _Meaning(AnswerTooLargeError)
_BUSY: Final = _Meaning(StoreBusyError, passes=True)
_TIMED_OUT: Final = _Meaning(StoreTimeoutError, passes=True)
_UNAVAILABLE: Final = _Meaning(StoreConnectionError, passes=True)
_NO_DATABASE: Final = _Meaning(InvalidConfigError)

CLASSES: Final[Mapping[str, _Meaning | None]] = MappingProxyType(
    {
        "MilvusException": None,  # its code says more
        "DescribeCollectionException": None,
        "ConnectError": _UNAVAILABLE,
        "MilvusUnavailableException": _UNAVAILABLE,
        "ConnectionNotExistException": _Meaning(StoreConnectionError),
        "ConnectionConfigException": _Meaning(InvalidConfigError),
        "CollectionNotExistException": _MISSING,
        "AmbiguousIndexName": _REFUSED,
        "AutoIDException": _REFUSED,
        "CannotInferSchemaException": _REFUSED,
        "ClusteringKeyException": _REFUSED,
        "DataNotMatchException": _REFUSED,
        "DataTypeNotMatchException": _REFUSED,
        "DataTypeNotSupportException": _REFUSED,
        "FieldTypeException": _REFUSED,
        "FieldsTypeException": _REFUSED,
        "FunctionsTypeException": _REFUSED,
        "IndexNotExistException": _REFUSED,
        "InvalidConsistencyLevel": _REFUSED,
        "ParamError": _REFUSED,
        "PartitionAlreadyExistException": _REFUSED,
        "PartitionKeyException": _REFUSED,
        "PrimaryKeyException": _REFUSED,
        "SchemaMismatchRetryableException": _REFUSED,
        "SchemaNotReadyException": _REFUSED,
        "ServerVersionIncompatibleException": _REFUSED,
    }
)
"""pymilvus's exceptions by name; None where the code decides."""

CODES: Final[Mapping[int, _Meaning]] = MappingProxyType(
    {
        2: _UNAVAILABLE,
        4: _BUSY,  # too many requests at once
        5: _REFUSED,
        6: _REFUSED,  # what Milvus Lite says of bad filters and rows
        8: _BUSY,  # the rate limit
        12: _BUSY,
        100: _MISSING,
        101: _NOT_LOADED,
        103: _LOADING,
        105: _REFUSED,
        106: _LOADING,
        201: _NOT_LOADED,
        202: _LOADING,
        # Parts of a server that are about to be somewhere else
        401: _UNAVAILABLE,
        500: _UNAVAILABLE,
        501: _UNAVAILABLE,
        503: _UNAVAILABLE,
        601: _UNAVAILABLE,
        602: _UNAVAILABLE,
        901: _UNAVAILABLE,
        902: _UNAVAILABLE,
        903: _UNAVAILABLE,
        904: _UNAVAILABLE,
        905: _UNAVAILABLE,
        906: _UNAVAILABLE,
        1002: _UNAVAILABLE,
        1100: _REFUSED,
        1101: _REFUSED,
        1102: _REFUSED,
        1400: _NO_ACCESS,
        1401: _NO_ACCESS,
        1402: _NO_ACCESS,
        1700: _REFUSED,
        1701: _REFUSED,
        1800: _NO_ACCESS,
        2001: _REFUSED,
        3000: _REFUSED,
        10001: _TIMED_OUT,
    }
)
"""The codes of Milvus 2.3 and later, and of Milvus Lite."""

OLD_CODES: Final[Mapping[int, _Meaning]] = MappingProxyType(
    {
        2: _UNAVAILABLE,
        3: _NO_ACCESS,
        4: _MISSING,
        5: _REFUSED,
        6: _REFUSED,
        7: _REFUSED,
        8: _REFUSED,
        9: _REFUSED,
        10: _REFUSED,
        11: _REFUSED,
        12: _REFUSED,
        22: _REFUSED,
        23: _REFUSED,
        28: _MISSING,
        45: _UNAVAILABLE,
        46: _UNAVAILABLE,
        49: _BUSY,
        50: _UNAVAILABLE,
        56: _UNAVAILABLE,
        57: _UNAVAILABLE,
        62: _REFUSED,
        100: _UNAVAILABLE,
    }
)
"""The codes that servers add for old clients; they decide where the other one says nothing."""

STATUSES: Final[Mapping[str, _Meaning]] = MappingProxyType(
    {
        "UNAVAILABLE": _UNAVAILABLE,
        "ABORTED": _UNAVAILABLE,
        "DEADLINE_EXCEEDED": _TIMED_OUT,
        "RESOURCE_EXHAUSTED": _BUSY,
        "UNAUTHENTICATED": _NO_ACCESS,
        "PERMISSION_DENIED": _NO_ACCESS,
        "INVALID_ARGUMENT": _REFUSED,
        "OUT_OF_RANGE": _REFUSED,
        "UNIMPLEMENTED": _REFUSED,
    }
)
"""The statuses of gRPC that say more than that something failed."""

_CONNECT_FAILED: Final = 2
_NO_DATABASE_WORDS: Final = re.compile(r"^database( |:\S+ )(not found|'.*' does not exist)")
_VAGUE_CODES: Final = frozenset({0, 1, 65535})
_TIMED_OUT_WORDS: Final = re.compile(
    r"^\[\w+\] Retry timeout|^wait for [\w ]+ timeout|context (deadline exceeded|Done)"
)


def translate(error: Exception, *, method: str, place: str, secret: str) -> RagbridgeError:
    """The ragbridge error for what pymilvus or gRPC raised.

    Args:
        error: A MilvusException, or an exception of gRPC.
        method: The client's method that raised it.
        place: The engine's address.
        secret: What must not appear in the message.
    """
    message = _message(error)
    if secret:
        for written in (secret, b64encode(secret.encode()).decode()):
            message = message.replace(written, "…")
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return _meaning(error).error(f"{method} failed at {place}: {message}")


def is_transient(error: BaseException) -> bool:
    """Whether the call that raised `error` may well succeed a moment later."""
    return _meaning(error).passes


def is_timeout(error: BaseException) -> bool:
    """Whether nobody answered in time."""
    return _meaning(error) is _TIMED_OUT


def _meaning(error: BaseException) -> _Meaning:
    if status := _status(error):
        return _of_status(status, _message(error))
    if found := CLASSES.get(type(error).__name__):
        return found
    if _NO_DATABASE_WORDS.search(_message(error)):
        return _NO_DATABASE
    if (code := getattr(error, "code", None)) not in _VAGUE_CODES:
        return CODES.get(code) or _of_flag(error)  # type: ignore[arg-type]
    return OLD_CODES.get(getattr(error, "compatible_code", 0)) or _of_words(error)


def _of_status(status: str, message: str) -> _Meaning:
    if status == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        return _TOO_LARGE
    return STATUSES.get(status, _UNKNOWN)


def _of_flag(error: BaseException) -> _Meaning:
    """By what the server says itself, as far as pymilvus passes it on."""
    return _BUSY if getattr(error, "retriable", False) else _UNKNOWN


def _of_words(error: BaseException) -> _Meaning:
    return _TIMED_OUT if _TIMED_OUT_WORDS.search(_message(error)) else _of_flag(error)


def _message(error: BaseException) -> str:
    for each in _chain(error):
        if hasattr(each, "details"):  # gRPC's own, whose str() goes over many lines
            return f"{_own_status(each)}: {each.details()}"
    return str(getattr(error, "message", "")) or str(error) or type(error).__name__


def _status(error: BaseException) -> str:
    """The name of gRPC's status, its own or that behind a failed attempt to connect, or ""."""
    return next(filter(None, map(_own_status, _chain(error))), "")


def _own_status(error: BaseException) -> str:
    if isinstance(error, TimeoutError) or type(error).__name__ == "FutureTimeoutError":
        return "DEADLINE_EXCEEDED"
    code = getattr(error, "code", None)
    code = code() if callable(code) else code  # pymilvus also takes one for its own code
    return "" if isinstance(code, int) else str(getattr(code, "name", ""))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what lies behind it where it only says that connecting failed."""
    yield error
    behind = error.__cause__ if getattr(error, "code", None) == _CONNECT_FAILED else None
    while behind is not None:
        yield behind
        behind = behind.__cause__
