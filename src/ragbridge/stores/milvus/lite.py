"""The Milvus Lite files that this process has open.

Milvus Lite is a server in this process, one for each file, with a lock on the file. All stores of a
file share it: the first opens it, the last one that closes releases the lock.
"""

import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragbridge.errors import StoreLockedError, VectorStoreError, missing_dependency
from ragbridge.stores.milvus.ledger import Ledger

_FILES: dict[str, "LiteFile"] = {}
_OPENING = threading.Lock()


@dataclass(eq=False, slots=True)
class LiteFile:
    """An open file.

    Attributes:
        path: Where it lies, without symbolic links.
        uri: Where its server listens.
        ledgers: Of its collections by name, from when it was opened.
    """

    path: str
    uri: str
    ledgers: defaultdict[str, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
    _is_shared: bool = False  # pymilvus's own clients had it open before
    _users: int = 0


def open_file(path: str) -> LiteFile:
    """The file at `path`, created where there is none; `release_file` must follow.

    Raises:
        MissingDependencyError: milvus-lite is not installed.
        StoreLockedError: another process has it open.
        VectorStoreError: it cannot be opened.
    """
    real = os.path.realpath(path)
    with _OPENING:
        file = _FILES.get(real)
        if file is None:
            is_shared = real in _server_manager()._servers
            file = _FILES[real] = LiteFile(real, _serve(real), _is_shared=is_shared)
        file._users += 1
        return file


def release_file(file: LiteFile) -> None:
    """Close the file, unless another store still has it open."""
    with _OPENING:
        file._users -= 1
        if file._users == 0:
            del _FILES[file.path]
        if file._users == 0 and not file._is_shared:
            _server_manager().release_server(file.path)


def _serve(path: str) -> str:
    if not Path(path).parent.is_dir():
        raise VectorStoreError(
            f"cannot open the Milvus Lite file {path}: its folder does not exist"
        )
    # Registered by hand, where pymilvus's own clients of the same path find the server. One that they
    # started makes room for ours, on the same port.
    servers = _server_manager()._servers
    port = _stop(*servers.pop(path)) if path in servers else 0
    server = _start(path, port)
    servers[path] = (server.server, server, server.port)
    return f"http://127.0.0.1:{server.port}"


def _stop(server: Any, engine: Any, port: int) -> int:
    server.stop(grace=5).wait()
    engine.close()
    return port


def _start(path: str, port: int) -> Any:
    from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError

    from ragbridge.stores.milvus.lite_server import LiteServer

    try:
        return LiteServer(path, port)
    except DataDirLockedError as error:
        raise StoreLockedError(
            f"the Milvus Lite file {path} is open in another process; close it there, or use a server"
        ) from error
    except (OSError, RuntimeError, MilvusLiteError) as error:
        raise VectorStoreError(f"cannot open the Milvus Lite file {path}: {error}") from error


def _server_manager() -> Any:
    try:
        from milvus_lite.server_manager import server_manager_instance
    except ImportError as error:
        raise missing_dependency("milvus-lite", "milvus") from error
    return server_manager_instance
