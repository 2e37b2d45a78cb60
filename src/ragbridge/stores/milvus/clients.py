"""pymilvus and its two clients, made to leave waiting, repeating and reporting to those who call."""

import logging
from contextvars import ContextVar, Token
from typing import Any, Final

from ragbridge.errors import missing_dependency
from ragbridge.stores.milvus.asking import take_dense_vectors
from ragbridge.stores.milvus.config import check_pymilvus_environment
from ragbridge.stores.milvus.packing import take_row_data

_CHANNEL: Final = {
    # How soon a server that came back is found; gRPC would wait for up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
}
_CALLING: ContextVar[bool] = ContextVar("ragbridge_calls_pymilvus", default=False)


def import_pymilvus() -> Any:
    """The module pymilvus.

    Raises:
        MissingDependencyError: it is not installed.
        InvalidConfigError: MILVUS_URI is such that it cannot be imported.
    """
    check_pymilvus_environment()
    try:
        import pymilvus
    except ImportError as error:
        raise missing_dependency("pymilvus", "milvus") from error
    logging.getLogger("pymilvus.decorators").addFilter(_is_called_by_others)
    return pymilvus


def connect(options: dict[str, Any], seconds: float) -> Any:
    """A sync client that is connected; `seconds` are for connecting alone."""
    client = import_pymilvus().MilvusClient(**_completed(options), timeout=seconds)
    if not client._config.is_global:
        client._handler._on_rpc_error = _hand_back
        take_row_data(client._handler)
        take_dense_vectors(client._handler)
    return client


async def aconnect(options: dict[str, Any], seconds: float) -> Any:
    """An async client of the running event loop that is connected."""
    client = import_pymilvus().AsyncMilvusClient(**_completed(options), timeout=seconds)
    await client.__aenter__()
    if not client._config.is_global:
        client._handler._on_rpc_error = _ahand_back
        take_row_data(client._handler)
        take_dense_vectors(client._handler)
    return client


class calling:  # noqa: N801 - a context manager
    """Within, pymilvus does not log the errors that it raises.

    It would log each attempt with its traceback, and with what the engine says, which may quote rows.
    """

    _token: Token[bool]

    def __enter__(self) -> None:
        self._token = _CALLING.set(True)

    def __exit__(self, *_error: object) -> None:
        _CALLING.reset(self._token)


def _is_called_by_others(_record: logging.LogRecord) -> bool:
    return not _CALLING.get()


def _completed(options: dict[str, Any]) -> dict[str, Any]:
    # A connection of one's own can be closed, and is never one that died with another loop.
    return {**options, "dedicated": True, "grpc_options": _CHANNEL}


def _hand_back(error: Exception) -> bool:
    """What pymilvus asks before it repeats a call: not to.

    It would connect anew while it holds a lock that all clients of the process wait for, and would
    count the time for each attempt from its beginning. gRPC connects anew by itself.
    """
    import grpc

    if isinstance(error, grpc.RpcError):
        raise error
    return False


async def _ahand_back(error: Exception) -> bool:
    return _hand_back(error)
