"""Searches by dense vectors, and the requests that make them.

pymilvus makes the request of each search anew, parameter by parameter and number by number, and of what
comes back an object for each hit. Here only the first request of a kind is made by it, and not sent:
those that are sent are copies with vectors and an expression of their own, as long as that first one is
the same as its copy. What comes back is read column by column. Where anything is otherwise than it is
known here, pymilvus searches as for anybody. It is its stub that sends; what goes wrong is raised as it
comes from there.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction
from itertools import islice, repeat
from types import SimpleNamespace
from typing import Any, Final

from ragbridge.embeddings import Vector

__all__ = ["DenseVectors", "ReadHits", "take_dense_vectors"]

_LOGGER: Final = logging.getLogger(__name__)
_MOST_KINDS: Final = 256
_UNKNOWN: Final = b""
"""The kind of searches that are left to pymilvus."""
_NEEDED: Final = ("_execute_search", "server_address")
"""What the handlers of clients have."""
_INTERCEPTORS: Final = ("_authorization_interceptor", "_identifier_interceptor")
_OWN: Final = frozenset({"data", "expression", "timeout", "context"})
"""The arguments in which searches of a kind differ."""
_FILLED_IN: Final = ("nq", "placeholder_group", "dsl", "guarantee_timestamp")
"""The fields of their requests that differ."""


class DenseVectors(list[Vector]):
    """Vectors as the `data` of pymilvus's `search`.

    Clients that went through `take_dense_vectors` search for them as it is done here, others as for any
    list.
    """


class ReadHits(list[tuple[dict[str, Any], float]]):
    """The rows of an answer with the engine's scores, read column by column."""


def take_dense_vectors(handler: Any) -> None:
    """Let a client search for `DenseVectors` as it is done here.

    Args:
        handler: What the client, sync or async, sends its requests by.
    """
    theirs: Any = getattr(handler, "search", None)
    is_async = iscoroutinefunction(theirs)
    stub = getattr(handler, "_async_stub" if is_async else "_stub", None)
    if not hasattr(stub, "Search") or not all(hasattr(handler, name) for name in _NEEDED):
        return
    if not is_async and all(hasattr(handler, name) for name in ("_channel", *_INTERCEPTORS)):
        _straighten(handler)
    try:
        handler.search = (_asearching if is_async else _searching)(handler, theirs)
    except ImportError:
        _LOGGER.debug("pymilvus is made otherwise now: it makes the requests of searches itself")


class _Straight:
    """A stub's method past the interceptors of its channel, which take a tenth of a fast call's time.

    All that they do is to add the same headers to each call.

    Args:
        method: The method, for all other ways to call it.
        straight: The same of a channel without interceptors.
        headers: What they add.
    """

    def __init__(self, method: Any, straight: Any, headers: Sequence[tuple[str, str]]) -> None:
        self._method = method
        self._straight = straight
        self._headers = headers

    def __call__(
        self, request: Any, *, metadata: Iterable[tuple[str, str]] = (), **options: Any
    ) -> Any:
        return self._straight(request, metadata=[*metadata, *self._headers], **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)


def _straighten(handler: Any) -> None:
    """Let a sync client search without interceptors, as long as it has this stub.

    It gets another one with another password.
    """
    stub = handler._stub
    straight = type(stub)(handler._channel).Search
    stub.Search = _Straight(stub.Search, straight, _headers_of(handler))


def _headers_of(handler: Any) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []

    def note(details: Any, _request: Any) -> None:
        headers.extend(details.metadata)

    call = SimpleNamespace(method=None, timeout=None, metadata=None, credentials=None)
    for name in _INTERCEPTORS:
        interceptor = getattr(handler, name)
        if interceptor is not None:
            interceptor.intercept_unary_unary(note, call, None)
    return headers


def _searching(handler: Any, theirs: Callable[..., Any]) -> Callable[..., Any]:
    from pymilvus.exceptions import MilvusException

    wire = _Wire(handler)

    @wraps(theirs)
    def searching(*args: Any, **asked: Any) -> Any:
        if args or not isinstance(asked.get("data"), DenseVectors):
            return theirs(*args, **asked)
        kind = wire.kind(asked)
        if kind not in wire:
            with suppress(MilvusException):  # which is raised below, unless it comes from here
                wire.learn(kind, asked, type(handler).search(_Unsent(handler), **asked))
        request = wire.request(kind, asked)
        if request is None:
            return theirs(**asked)
        return wire.read(handler._stub.Search(request, **_how(asked)), asked)

    return searching


def _asearching(handler: Any, theirs: Callable[..., Any]) -> Callable[..., Any]:
    from pymilvus.exceptions import MilvusException

    wire = _Wire(handler)

    @wraps(theirs)
    async def searching(*args: Any, **asked: Any) -> Any:
        if args or not isinstance(asked.get("data"), DenseVectors):
            return await theirs(*args, **asked)
        kind = wire.kind(asked)
        if kind not in wire:
            with suppress(MilvusException):  # as above
                unsent = _AsyncUnsent(handler)
                wire.learn(kind, asked, await type(handler).search(unsent, **asked))
        request = wire.request(kind, asked)
        if request is None:
            return await theirs(**asked)
        return wire.read(await handler._async_stub.Search(request, **_how(asked)), asked)

    return searching


def _how(asked: Mapping[str, Any]) -> dict[str, Any]:
    """How the request of a search is sent."""
    return {"timeout": asked["timeout"], "metadata": asked["context"].to_grpc_metadata()}


class _Unsent:
    """A client's handler that gives away the request that it would send for a search."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def _execute_search(self, request: Any, *_args: Any, **_told: Any) -> Any:
        return request


class _AsyncUnsent(_Unsent):
    async def _execute_search(self, request: Any, *_args: Any, **_told: Any) -> Any:
        return request


class _Wire:
    """The requests of a client's searches, and what is read of their answers.

    Args:
        handler: What the client sends its requests by.

    Raises:
        ImportError: pymilvus does not have what it takes.
    """

    def __init__(self, handler: Any) -> None:
        from orjson import dumps, loads
        from pymilvus import DataType
        from pymilvus.client.search_result import SearchResult
        from pymilvus.client.ts_utils import construct_guarantee_ts
        from pymilvus.client.utils import check_status
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        self._handler = handler
        self._patterns: dict[bytes, Any] = {_UNKNOWN: None}
        self._dump: Callable[[Any], bytes] = dumps
        self._load, self._answer = loads, SearchResult
        self._find_timestamp, self._check = construct_guarantee_ts, check_status
        self._vectors, self._request = common_pb2, milvus_pb2.SearchRequest
        self._kind_of_vectors = common_pb2.PlaceholderType.FloatVector
        self._slots: Mapping[int, str] = {
            DataType.VARCHAR.value: "string_data",
            DataType.JSON.value: "json_data",
            DataType.BOOL.value: "bool_data",
        }

    def __contains__(self, kind: bytes) -> bool:
        return kind in self._patterns

    def kind(self, asked: Mapping[str, Any]) -> bytes:
        """The same for searches whose requests differ in nothing but what is filled in anew."""
        try:
            return self._dump({name: asked[name] for name in asked if name not in _OWN})
        except TypeError:  # for what is no JSON
            return _UNKNOWN

    def learn(self, kind: bytes, asked: Mapping[str, Any], request: Any) -> None:
        """Remember what pymilvus makes of a search of this kind, if it is made here alike."""
        if len(self._patterns) >= _MOST_KINDS:
            self._patterns = {_UNKNOWN: None}
        self._patterns[kind] = None
        if not isinstance(request, self._request):
            return
        pattern = self._request()
        pattern.CopyFrom(request)
        for name in _FILLED_IN:
            pattern.ClearField(name)
        if self._filled_in(pattern, asked) == request:
            self._patterns[kind] = pattern

    def request(self, kind: bytes, asked: Mapping[str, Any]) -> Any:
        """The request for a search of a kind, or None where pymilvus has to make it."""
        pattern = self._patterns.get(kind)
        return None if pattern is None else self._filled_in(pattern, asked)

    def read(self, response: Any, asked: Mapping[str, Any]) -> Any:
        """The answers for each vector, as `ReadHits` or as pymilvus has them.

        Milvus Lite also sends the dynamic keys, which nobody asked for.
        """
        self._check(response.status)
        results = response.results
        columns = {
            field.field_name: self._plain_values(field)
            for field in results.fields_data
            if not field.is_dynamic
        }
        columns[results.primary_field_name or "id"] = results.ids.str_id.data
        rows = sum(results.topks)
        if not columns.keys() >= {*asked["output_fields"]} or any(
            column is None or len(column) != rows for column in columns.values()
        ):
            return self._answer(results, status=response.status, session_ts=response.session_ts)
        named = map(zip, repeat(tuple(columns)), zip(*columns.values(), strict=True))
        hits = zip(map(dict, named), results.scores, strict=True)
        return [ReadHits(islice(hits, count)) for count in results.topks]

    def _plain_values(self, field: Any) -> Sequence[Any] | None:
        """The values of a column; None where they are more than texts, flags or JSON."""
        slot = self._slots.get(field.type)
        if slot is None or field.valid_data:
            return None
        values: Sequence[Any] = getattr(field.scalars, slot).data
        return self._load(b"[%b]" % b",".join(values)) if slot == "json_data" else values

    def _filled_in(self, pattern: Any, asked: Mapping[str, Any]) -> Any:
        request = self._request()
        request.CopyFrom(pattern)
        request.nq = len(asked["data"])
        request.placeholder_group = self._packed(asked["data"])
        request.dsl = asked["expression"]
        request.guarantee_timestamp = self._timestamp(asked)
        return request

    def _packed(self, vectors: Sequence[Vector]) -> bytes:
        floats = [vector.astype("<f4", copy=False).tobytes() for vector in vectors]
        value = self._vectors.PlaceholderValue(tag="$0", type=self._kind_of_vectors, values=floats)
        packed: bytes = self._vectors.PlaceholderGroup(placeholders=[value]).SerializeToString()
        return packed

    def _timestamp(self, asked: Mapping[str, Any]) -> int:
        """How far the server must have come to answer: pymilvus knows the last write of a client."""
        told: dict[str, Any] = {"consistency_level": asked.get("consistency_level")}
        place = (self._handler.server_address, asked["context"].get_db_name())
        self._find_timestamp(asked["collection_name"], told, *place)
        timestamp: int = told["guarantee_timestamp"]
        return timestamp
