"""Milvus Lite's server in this process, made safe for several callers and for disks that fail.

Milvus Lite does not guard itself. Writes at the same time may damage its log; who reads during a flush
misses the rows that are being flushed; and after a flush that failed, say on a full disk, it forgets
these rows, and with the next flush deletes the log that they are still in. What is guarded here is what
the server does: a call goes on even if whoever made it was cancelled, or timed out, or is gone.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from milvus_lite.exceptions import MilvusLiteError
from pymilvus.grpc_gen import milvus_pb2_grpc

from ragbridge.stores.milvus.gate import Gate

_WORKERS: Final = 32
_LARGEST_MESSAGE: Final = 256 * 2**20
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
)
_ABOUT_THE_SERVER: Final = frozenset({"Connect", "GetVersion", "CheckHealth"})
_READS: Final = ("Get", "Has", "Describe", "Show", "List", "Query", "Search", "HybridSearch")
_WRITES: Final = frozenset({"Insert", "Upsert", "Delete", "Flush", "DropPartition"})
_FAILED_UNFORESEEN: Final = 1


class LiteServer:
    """Serves one file on the loopback interface until it is closed.

    Args:
        path: The file, created where there is none.
        port: 0 takes any that is free.

    Attributes:
        server: gRPC's.
        port: Where it listens.

    Raises:
        DataDirLockedError: another process has the file open.
        OSError, RuntimeError, MilvusLiteError: it cannot be opened or served.
    """

    def __init__(self, path: str, port: int = 0) -> None:
        self._path = path
        self._gate = Gate()
        self._handlers: dict[str, Any] = {}
        self._is_in_doubt = False
        self._engine = _open(path)
        self._servicer = MilvusServicer(self._engine)
        try:
            workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="milvus-lite")
            self.server = grpc.server(workers, interceptors=[self], options=_OPTIONS)
            milvus_pb2_grpc.add_MilvusServiceServicer_to_server(self._servicer, self.server)
            self.port: int = self.server.add_insecure_port(f"127.0.0.1:{port}")
            self.server.start()
        except BaseException:
            self._engine.close()
            raise

    def close(self) -> None:
        """Release the file, when those who are inside have left."""
        self._gate.enter(exclusive=True)
        try:
            self._engine.close()
        finally:
            self._gate.leave()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """What gRPC asks for each call; see `grpc.ServerInterceptor`."""
        method = details.method.rpartition("/")[2]
        if method not in self._handlers:
            self._handlers[method] = self._handler(method, continuation(details))
        return self._handlers[method]

    def _handler(self, method: str, handler: Any) -> Any:
        if method not in vars(MilvusServicer):
            return None  # gRPC then says so, without a traceback in the log
        if method in _ABOUT_THE_SERVER:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            partial(self._take_turn, method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _take_turn(
        self, method: str, answer: Callable[[Any, Any], Any], request: Any, context: Any
    ) -> Any:
        while True:
            exclusive = self._is_in_doubt or not method.startswith(_READS)
            if not self._gate.enter(exclusive=exclusive, seconds=context.time_remaining()):
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "others kept the file busy")
            try:
                if exclusive or not self._is_in_doubt:
                    return self._answer(method, answer, request, context)
            finally:
                self._gate.leave()

    def _answer(
        self, method: str, answer: Callable[[Any, Any], Any], request: Any, context: Any
    ) -> Any:
        if not context.is_active():
            context.abort(grpc.StatusCode.CANCELLED, "nobody waits for it any more")
        if self._is_in_doubt:
            self._reopen(context)
        response = answer(request, context)
        if method in _WRITES and response.status.code == _FAILED_UNFORESEEN:
            self._is_in_doubt = True
        return response

    def _reopen(self, context: Any) -> None:
        """Go on with what lies on the disk."""
        self._engine.close()
        try:
            self._engine = self._servicer._db = _open(self._path)
        except (OSError, MilvusLiteError) as error:
            context.abort(grpc.StatusCode.INTERNAL, f"the file cannot be opened again: {error}")
        self._is_in_doubt = False


def _open(path: str) -> Any:
    engine = MilvusLite(path)
    opening = threading.Lock()  # two that open a collection at once would each have one
    get_collection = engine.get_collection

    def get_one(*args: Any, **kwargs: Any) -> Any:
        with opening:
            return get_collection(*args, **kwargs)

    engine.get_collection = get_one
    return engine
