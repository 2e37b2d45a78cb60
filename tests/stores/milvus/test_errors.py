"""What becomes of every error that pymilvus, gRPC and the engines know."""

import base64
import inspect
import logging
import random
import time

import grpc
import pymilvus.exceptions
import pytest
from pymilvus.client.types import Status
from pymilvus.exceptions import ErrorCode, MilvusException
from pymilvus.grpc_gen import common_pb2

from ragbridge.errors import (
    InvalidConfigError,
    RagbridgeError,
    StoreAccessError,
    StoreConnectionError,
    StoreTimeoutError,
    VectorStoreError,
)
from ragbridge.stores.milvus.clients import calling, import_pymilvus
from ragbridge.stores.milvus.errors import (
    CLASSES,
    STATUSES,
    AnswerTooLargeError,
    CollectionMissingError,
    CollectionNotLoadedError,
    RequestRefusedError,
    StoreBusyError,
    is_timeout,
    is_transient,
    translate,
)
from ragbridge.stores.milvus.patience import Deadline, arepeating, repeating, waits

EXCEPTIONS = {
    name: kind
    for name, kind in inspect.getmembers(pymilvus.exceptions, inspect.isclass)
    if issubclass(kind, Exception)
}
TOKEN = "root:very-secret"


def translated(error, secret=""):
    return translate(error, method="search", place="http://milvus:19530", secret=secret)


def of_server(code, old_code=common_pb2.UnexpectedError, reason="what went wrong"):
    """The exception for what a server answers."""
    status = common_pb2.Status(code=code, error_code=old_code, reason=reason)
    try:
        pymilvus.client.utils.check_status(status)
    except MilvusException as error:
        return error
    raise AssertionError(f"pymilvus takes {code} for success")


class RpcError(grpc.RpcError):
    """As gRPC raises it: the status and the details are methods."""

    def __init__(self, status, details="what went wrong"):
        super().__init__()
        self._status, self._details = status, details

    def code(self):
        return self._status

    def details(self):
        return self._details


# Classes


def test_every_exception_of_pymilvus_is_known():
    known = set(CLASSES)
    assert set(EXCEPTIONS) <= known, "pymilvus has a new exception; say what it means"
    assert all(issubclass(kind, MilvusException) for kind in EXCEPTIONS.values())


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_becomes_one_of_ours(name):
    error = EXCEPTIONS[name](message="what went wrong")
    ours = translated(error)
    assert isinstance(ours, RagbridgeError)
    assert str(ours) == "search failed at http://milvus:19530: what went wrong"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MilvusException", VectorStoreError),
        ("ConnectError", StoreConnectionError),
        ("MilvusUnavailableException", StoreConnectionError),
        ("ConnectionNotExistException", StoreConnectionError),
        ("ConnectionConfigException", InvalidConfigError),
        ("CollectionNotExistException", CollectionMissingError),
        ("ParamError", RequestRefusedError),
        ("DataNotMatchException", RequestRefusedError),
    ],
)
def test_what_exceptions_mean(name, expected):
    assert type(translated(EXCEPTIONS[name]())) is expected


# Codes


SERVER_CODES = {
    # Milvus's pkg/util/merr names them; those that it calls retriable are transient here too.
    (1, common_pb2.NotReadyServe): (StoreConnectionError, True),
    (2, common_pb2.UnexpectedError): (StoreConnectionError, True),
    (3, common_pb2.InsufficientMemoryToLoad): (VectorStoreError, False),
    (4, common_pb2.UnexpectedError): (StoreBusyError, True),
    (7, common_pb2.DiskQuotaExhausted): (VectorStoreError, False),
    (8, common_pb2.RateLimit): (StoreBusyError, True),
    (9, common_pb2.ForceDeny): (VectorStoreError, False),
    (12, common_pb2.UnexpectedError): (StoreBusyError, True),
    (100, common_pb2.CollectionNotExists): (CollectionMissingError, False),
    (101, common_pb2.UnexpectedError): (CollectionNotLoadedError, False),
    (103, common_pb2.UnexpectedError): (CollectionNotLoadedError, True),
    (106, common_pb2.UnexpectedError): (CollectionNotLoadedError, True),
    (202, common_pb2.UnexpectedError): (CollectionNotLoadedError, True),
    (503, common_pb2.UnexpectedError): (StoreConnectionError, True),
    (700, common_pb2.IndexNotExist): (VectorStoreError, False),
    (904, common_pb2.NodeIDNotMatch): (StoreConnectionError, True),
    (1002, common_pb2.UnexpectedError): (StoreConnectionError, True),
    (1100, common_pb2.IllegalArgument): (RequestRefusedError, False),
    (1400, common_pb2.UnexpectedError): (StoreAccessError, False),
    (1401, common_pb2.UnexpectedError): (StoreAccessError, False),
    (10001, common_pb2.UnexpectedError): (StoreTimeoutError, True),
    (65535, common_pb2.UnexpectedError): (VectorStoreError, False),
    # Milvus Lite
    (1, common_pb2.Success): (VectorStoreError, False),
    (6, 6): (RequestRefusedError, False),
    (100, 4): (CollectionMissingError, False),
    (101, 101): (CollectionNotLoadedError, False),
}


@pytest.mark.parametrize(("code", "old_code"), SERVER_CODES)
def test_what_codes_of_servers_mean(code, old_code):
    expected, transient = SERVER_CODES[code, old_code]
    error = of_server(code, old_code)
    assert type(translated(error)) is expected
    assert is_transient(error) is transient


OLD_CODES = {
    "ConnectFailed": (StoreConnectionError, True),
    "PermissionDenied": (StoreAccessError, False),
    "CollectionNotExists": (CollectionMissingError, False),
    "CollectionNameNotFound": (CollectionMissingError, False),
    "NotShardLeader": (StoreConnectionError, True),
    "NoReplicaAvailable": (StoreConnectionError, True),
    "NodeIDNotMatch": (StoreConnectionError, True),
    "RateLimit": (StoreBusyError, True),
    "NotReadyServe": (StoreConnectionError, True),
    "NotReadyCoordActivating": (StoreConnectionError, True),
    "DataCoordNA": (StoreConnectionError, True),
}
ILLEGAL = {name for name in common_pb2.ErrorCode.keys() if name.startswith("Illegal")} - {  # noqa: SIM118
    "IllegalSearchResult"  # the engine's own fault
}


@pytest.mark.parametrize("name", sorted(set(common_pb2.ErrorCode.keys()) - {"Success"}))
def test_what_old_codes_of_servers_mean(name):
    error = of_server(0, common_pb2.ErrorCode.Value(name))
    ours = translated(error)
    expected, transient = OLD_CODES.get(name, (None, False))
    if name in ("SchemaMismatch", *ILLEGAL):
        expected = RequestRefusedError
    assert type(ours) is (expected or VectorStoreError)
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    "code", [*ErrorCode, *map(int, (v for v in vars(Status).values() if isinstance(v, int)))]
)
def test_every_code_that_pymilvus_names_becomes_one_of_ours(code):
    assert isinstance(translated(MilvusException(code, "what went wrong")), VectorStoreError)


def test_what_a_server_calls_retriable_is_tried_again():
    pymilvus_has_it = "retriable" in inspect.signature(MilvusException).parameters
    if pymilvus_has_it:
        error = MilvusException(2307, "fail to submit task", retriable=True)
        assert is_transient(error)
    assert not is_transient(MilvusException(2307, "fail to submit task"))


# gRPC


@pytest.mark.parametrize("status", [each for each in grpc.StatusCode if each.name != "OK"])
def test_every_status_of_grpc_becomes_one_of_ours(status):
    known = STATUSES.get(status.name)
    for error in (RpcError(status), MilvusException(status, "what went wrong")):
        ours = translated(error)
        assert type(ours) is (known.error if known else VectorStoreError)
        assert "what went wrong" in str(ours)


@pytest.mark.parametrize(
    ("status", "expected", "transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, StoreConnectionError, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, StoreTimeoutError, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, StoreBusyError, True),
        (grpc.StatusCode.UNAUTHENTICATED, StoreAccessError, False),
        (grpc.StatusCode.PERMISSION_DENIED, StoreAccessError, False),
        (grpc.StatusCode.INTERNAL, VectorStoreError, False),
        (grpc.StatusCode.UNKNOWN, VectorStoreError, False),
    ],
)
def test_what_statuses_of_grpc_mean(status, expected, transient):
    error = RpcError(status)
    assert type(translated(error)) is expected
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    "details",
    [
        "Received message larger than max (70000000 vs. 67108864)",
        "CLIENT: Sent message larger than max (70000000 vs. 67108864)",
        "grpc: trying to send message larger than max (70000000 vs. 67108864)",
    ],
)
def test_too_much_at_once_is_no_rate_limit(details):
    error = RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
    assert type(translated(error)) is AnswerTooLargeError
    assert not is_transient(error)


def failed_to_connect(cause):
    """As pymilvus raises it, whatever the reason was."""
    error = MilvusException(2, "Fail connecting to server on milvus:19530")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "expected", "transient"),
    [
        (None, StoreConnectionError, True),
        (RpcError(grpc.StatusCode.UNAVAILABLE), StoreConnectionError, True),
        (RpcError(grpc.StatusCode.DEADLINE_EXCEEDED), StoreTimeoutError, True),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED), StoreAccessError, False),
        (grpc.FutureTimeoutError(), StoreTimeoutError, True),
        (TimeoutError(), StoreTimeoutError, True),
    ],
)
def test_why_connecting_failed(cause, expected, transient):
    error = failed_to_connect(cause)
    assert type(translated(error)) is expected
    assert is_transient(error) is transient
    assert is_timeout(error) is (expected is StoreTimeoutError)


@pytest.mark.parametrize(
    "message",
    [
        "[search] Retry timeout: 60s",
        "[has_collection] Retry timeout: 3s, message=proxy TaskCondition context Done",
        "wait for loading collection timeout, collection: rows",
        "wait for flush timeout, collection: rows, flusht_ts: 1",
        "fail to search: context deadline exceeded",
    ],
)
@pytest.mark.parametrize("code", [1, 65535])
def test_timeouts_that_have_no_code(code, message):
    assert type(translated(MilvusException(code, message))) is StoreTimeoutError


def test_what_rows_say_is_no_timeout():
    error = MilvusException(65535, 'cannot parse expression: (title == "a timeout, context done")')
    assert type(translated(error)) is VectorStoreError


# Messages


def test_a_message_is_no_longer_than_people_read():
    assert len(str(translated(MilvusException(1100, "x" * 10_000)))) < 600


@pytest.mark.parametrize("secret", [TOKEN, "an-api-key"])
def test_no_secret_is_in_a_message(secret):
    written = base64.b64encode(secret.encode()).decode()
    error = RpcError(grpc.StatusCode.UNAUTHENTICATED, f"bad token {secret}, header {written}")
    message = str(translated(error, secret))
    assert secret not in message
    assert written not in message
    assert message.endswith("UNAUTHENTICATED: bad token …, header …")


# Trying again


class Flaky:
    """Fails a few times, then answers."""

    def __init__(self, error, times):
        self.error, self.times = error, times
        self.calls = []

    def __call__(self):
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.times:
            raise self.error
        return "answer"

    async def acall(self):
        return self()


UNAVAILABLE = RpcError(grpc.StatusCode.UNAVAILABLE)
REFUSED = RpcError(grpc.StatusCode.INVALID_ARGUMENT)


async def test_what_passes_is_tried_again():
    for times in range(4):
        assert repeating(Deadline(30))(Flaky(UNAVAILABLE, times)) == "answer"
        assert await arepeating(Deadline(30))(Flaky(UNAVAILABLE, times).acall) == "answer"


async def test_what_is_wrong_is_not_tried_again():
    flaky = Flaky(REFUSED, 10)
    with pytest.raises(RpcError):
        repeating(Deadline(30))(flaky)
    with pytest.raises(RpcError):
        await arepeating(Deadline(30))(flaky.acall)
    assert len(flaky.calls) == 2


def test_trying_again_ends_with_the_deadline():
    flaky = Flaky(UNAVAILABLE, 10_000)
    deadline = Deadline(1.0)
    with pytest.raises(RpcError):
        repeating(deadline)(flaky)
    assert flaky.calls[-1] <= flaky.calls[0] + 1.0
    assert len(flaky.calls) > 1


def test_the_waits_grow_and_differ():
    random.seed(7)
    wait = waits()
    taken = [
        [wait(type("State", (), {"attempt_number": attempt})()) for attempt in range(1, 12)]
        for _ in range(200)
    ]
    columns = list(zip(*taken, strict=True))
    assert all(len(set(column)) > 150 for column in columns), "clients would call all at once"
    assert max(columns[0]) <= 0.1
    assert max(columns[4]) > 1.0
    assert max(max(column) for column in columns) <= 3.0


def test_a_deadline_counts_down_and_ends_above_zero():
    deadline = Deadline(0.05)
    assert 0.04 < deadline.left <= 0.05
    time.sleep(0.06)
    assert 0 < deadline.left <= 0.001


def test_pymilvus_logs_no_errors_of_ours(monkeypatch):
    import_pymilvus()
    logger = logging.getLogger("pymilvus.decorators")
    records = []
    monkeypatch.setattr(logger, "handle", lambda record: records.append(logger.filter(record)))
    with calling():
        logger.error("ours")
    logger.error("somebody else's")
    assert [bool(each) for each in records] == [False, True]
