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
from ragbridge.stores.milvus.gate import Gate
from ragbridge.stores.milvus.ledger import Ledger

_FILES: dict[str, "LiteFile"] = {}
_OPENING = threading.Lock()


@dataclass(eq=False, slots=True)
class LiteFile:
    """An open file.

    Attributes:
        path: Where it lies, without symbolic links.
        uri: Where its server listens.
        gate: Who reads passes with others, who writes or flushes passes alone.
        ledgers: Of its collections by name, from when it was opened.
    """

    path: str
    uri: str
    gate: Gate = field(default_factory=Gate)
    ledgers: defaultdict[str, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
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
            file = _FILES[real] = LiteFile(real, _serve(real))
        file._users += 1
        return file


def release_file(file: LiteFile) -> None:
    """Close the file, unless another store still has it open."""
    with _OPENING:
        file._users -= 1
        if file._users == 0:
            del _FILES[file.path]
            _server_manager().release_server(file.path)


def _serve(path: str) -> str:
    if not Path(path).parent.is_dir():
        raise VectorStoreError(
            f"cannot open the Milvus Lite file {path}: its folder does not exist"
        )
    manager = _server_manager()
    # Registered by hand, and not through start_and_get_uri, which says only that something failed.
    # pymilvus's own clients of the same path find the server there.
    if path not in manager._servers:
        manager._servers[path] = _start(path)
    return f"http://127.0.0.1:{manager._servers[path][-1]}"


def _start(path: str) -> Any:
    from milvus_lite.adapter.grpc.server import start_server_in_thread
    from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError

    try:
        return start_server_in_thread(data_dir=path, host="127.0.0.1", port=0)
    except DataDirLockedError as error:
        raise StoreLockedError(
            f"the Milvus Lite file {path} is open in another process; close it there, or use a server"
        ) from error
    except (OSError, MilvusLiteError) as error:
        raise VectorStoreError(f"cannot open the Milvus Lite file {path}: {error}") from error


def _server_manager() -> Any:
    try:
        from milvus_lite.server_manager import server_manager_instance
    except ImportError as error:
        raise missing_dependency("milvus-lite", "milvus") from error
    return server_manager_instance
